//! What it costs to parse, look at and write a 1.9 KB INVITE: nanoseconds and allocations,
//! the best of several rounds. `cargo run --release -p sip --example parse_cost`

use bytes::Bytes;
use sip::{HeaderName, Message};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System.alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let bytes = invite();
    println!("INVITE of {} bytes", bytes.len());
    let message = Message::parse(bytes.clone()).expect("a good INVITE");
    println!(
        "{} headers, {} bytes of body",
        message.fields().header_count(),
        message.fields().body().len()
    );
    measure("parse", || drop(black_box(Message::parse(bytes.clone()))));
    measure("check", || {
        let _ = black_box(message.check());
    });
    measure("typed access to 6 headers", || {
        let fields = message.fields();
        black_box((
            fields.via().map(|via| via.branch().map(str::len)),
            fields.from_tag(),
            fields.to_tag(),
        ));
        black_box((
            fields.cseq(),
            fields.call_id(),
            fields.contact().map(|contact| contact.sip_uri()),
        ));
    });
    measure("serialise unedited", || drop(black_box(message.to_bytes())));
    measure("parse, check, edit Via, serialise", || {
        let Ok(Message::Request(mut request)) = Message::parse(bytes.clone()) else {
            return;
        };
        let _ = black_box(request.check());
        request.push_front(
            HeaderName::Via,
            "SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK0000111122223333444455556666gp;rport",
        );
        drop(black_box(request.to_bytes()));
    });
}

#[expect(clippy::disallowed_methods, reason = "a benchmark needs a clock")]
fn measure(what: &str, mut work: impl FnMut()) {
    const ROUNDS: u32 = 20_000;
    let mut best = f64::MAX;
    let mut allocations = 0;
    for _ in 0..20 {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let start = Instant::now();
        for _ in 0..ROUNDS {
            work();
        }
        let ns = start.elapsed().as_nanos() as f64 / f64::from(ROUNDS);
        allocations = (ALLOCATIONS.load(Ordering::Relaxed) - before) / u64::from(ROUNDS);
        best = best.min(ns);
    }
    println!("{what:38} {best:8.0} ns  {allocations:3} allocations");
}

fn invite() -> Bytes {
    let sdp = "v=0\r\no=- 3724394400 3724394405 IN IP4 198.51.100.1\r\ns=call\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0 8 9 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:40\r\na=sendrecv\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\na=rtcp:49171\r\na=ssrc:314159 cname:user@198.51.100.1\r\n";
    let head = "INVITE sip:+14155550123@sbc.example.com:5060;user=phone SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK74bf9a4d8c6b2e;rport\r\nVia: SIP/2.0/UDP 198.51.100.2:5060;branch=z9hG4bKa7c6a8dlze.1;received=192.0.2.4;rport=5062\r\nRecord-Route: <sip:198.51.100.1;lr;ftag=9fxced76sl>\r\nMax-Forwards: 68\r\nFrom: \"Alice Wonderland\" <sip:+14155550100@carrier.example.net;user=phone>;tag=9fxced76sl\r\nTo: <sip:+14155550123@sbc.example.com;user=phone>\r\nCall-ID: 3848276298220188511@carrier.example.net\r\nCSeq: 102 INVITE\r\nContact: <sip:+14155550100@198.51.100.2:5060;transport=udp>\r\nDate: Sat, 21 Nov 2026 05:00:00 GMT\r\nUser-Agent: Carrier SBC 7.2.1\r\nAllow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE, UPDATE, PRACK\r\nSupported: replaces, timer, 100rel, path, histinfo\r\nSession-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\nP-Asserted-Identity: \"Alice Wonderland\" <sip:+14155550100@carrier.example.net>\r\nPrivacy: none\r\nX-Carrier-Trunk: tg-4711-west;priority=3\r\nX-Correlation-ID: 6f1d2c3b-4a59-4e68-8877-96a5b4c3d2e1\r\nAccept: application/sdp, application/dtmf-relay\r\nCall-Info: <http://www.example.net/alice/photo.jpg>;purpose=icon\r\nHistory-Info: <sip:+14155550123@carrier.example.net>;index=1, <sip:+14155550199@carrier.example.net;cause=302>;index=1.1\r\nX-Carrier-Billing: account=0815-4711;plan=wholesale-west-2026;rate=0.0042;currency=USD;rating-group=us-domestic-tier-2\r\nContent-Type: application/sdp\r\n";
    Bytes::from(format!("{head}Content-Length: {}\r\n\r\n{sdp}", sdp.len()))
}
