//! Whether a message that could be indexed says enough, and nothing twice, to be worked on
//! (RFC 3261 §8.1.1, §8.2; RFC 4475 §3.1.2, §3.3).

use super::error::Defect;
use super::fields::Fields;
use super::method::Method;
use super::name::HeaderName;
use super::name_addr::NameAddr;
use super::request::Request;
use super::response::Response;
use super::text::find_top_level;
use super::via::Via;

pub(super) fn request(request: &Request) -> Result<(), Defect> {
    fields(request)?;
    if request
        .cseq()
        .is_some_and(|cseq| cseq.method != request.method().as_str())
    {
        return Err(Defect::CSeqMethod);
    }
    match request.count(HeaderName::MaxForwards) {
        // Mandatory since RFC 3261, not sent by RFC 2543.
        0 => {}
        1 if request
            .number::<u32>(HeaderName::MaxForwards)
            .is_none_or(|hops| hops > 255) =>
        {
            return Err(Defect::MaxForwards);
        }
        1 => {}
        _ => return Err(Defect::MaxForwardsTwice),
    }
    for contact in request.get_all(HeaderName::Contact) {
        if contact == "*" {
            if *request.method() != Method::Register {
                return Err(Defect::ContactStar);
            }
            continue;
        }
        if request
            .list(HeaderName::Contact)
            .any(|text| text != "*" && NameAddr::parse(text).is_err())
        {
            return Err(Defect::Contact);
        }
        break;
    }
    Ok(())
}

pub(super) fn response(response: &Response) -> Result<(), Defect> {
    fields(response)
}

/// The six fields that every message has.
fn fields(fields: &Fields) -> Result<(), Defect> {
    let mut vias = 0;
    for text in fields.get_all(HeaderName::Via) {
        let mut rest = Some(text);
        while let Some(text) = rest {
            let comma = find_top_level(text, b',');
            Via::parse(&text[..comma.unwrap_or(text.len())]).map_err(|_| Defect::Via)?;
            rest = comma.map(|comma| &text[comma + 1..]);
            vias += 1;
        }
    }
    if vias == 0 {
        return Err(Defect::ViaMissing);
    }
    let from = once(
        fields,
        HeaderName::From,
        Defect::FromMissing,
        Defect::FromTwice,
    )?;
    NameAddr::parse(from).map_err(|_| Defect::From)?;
    let to = once(fields, HeaderName::To, Defect::ToMissing, Defect::ToTwice)?;
    NameAddr::parse(to).map_err(|_| Defect::To)?;
    let call_id = once(
        fields,
        HeaderName::CallId,
        Defect::CallIdMissing,
        Defect::CallIdTwice,
    )?;
    if call_id.is_empty() {
        return Err(Defect::CallIdMissing);
    }
    once(
        fields,
        HeaderName::CSeq,
        Defect::CSeqMissing,
        Defect::CSeqTwice,
    )?;
    fields.cseq().ok_or(Defect::CSeq)?;
    Ok(())
}

fn once(fields: &Fields, name: HeaderName, missing: Defect, twice: Defect) -> Result<&str, Defect> {
    let mut all = fields.get_all(name);
    let first = all.next().ok_or(missing)?;
    if all.next().is_some() {
        Err(twice)
    } else {
        Ok(first)
    }
}
