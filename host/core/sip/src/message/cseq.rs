//! CSeq (RFC 3261 §20.16): a number below 2³¹ and a method.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CSeq<'a> {
    pub number: u32,
    pub method: &'a str,
}

impl<'a> CSeq<'a> {
    pub fn parse(text: &'a str) -> Option<Self> {
        let (number, method) = text.trim_ascii().split_once([' ', '\t'])?;
        let method = method.trim_ascii();
        if !number.bytes().all(|b| b.is_ascii_digit())
            || method.is_empty()
            || method.contains([' ', '\t'])
        {
            return None;
        }
        // RFC 3261 §8.1.1.5.
        let number = number.parse::<u32>().ok().filter(|n| *n < 1 << 31)?;
        Some(CSeq { number, method })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_31_bits_and_a_method() {
        assert_eq!(
            CSeq::parse("0009  INVITE"),
            Some(CSeq {
                number: 9,
                method: "INVITE"
            })
        );
        assert_eq!(CSeq::parse("0 BYE").unwrap().number, 0);
        for bad in [
            "",
            "INVITE",
            "1",
            "x INVITE",
            "-1 INVITE",
            "+1 INVITE",
            "2147483648 INVITE",
            "36893488147419103232 REGISTER",
            "1 A B",
        ] {
            assert_eq!(CSeq::parse(bad), None, "{bad}");
        }
    }
}
