//! Any bytes as a request to the ONVIF services: an answer or a fault, never a panic; and whatever
//! is answered is an envelope that reads back.
#![no_main]

use lancam::onvif::{Device, Interface, Network, Request, Stream, Used, Uuid};
use libfuzzer_sys::fuzz_target;

const NOW: i64 = 1_795_831_200;

fuzz_target!(|body: &[u8]| {
    let request = match Request::read(body) {
        Ok(request) => request,
        Err(fault) => {
            let reply = lancam::onvif::Reply::from(fault);
            assert!([400, 500].contains(&reply.status));
            Request::read(reply.body.as_bytes()).expect("a fault is an envelope");
            return;
        }
    };
    if let Some(token) = &request.token {
        let mut used = Used::default();
        if used.check(NOW, token, Some("secret")).is_ok() {
            assert!(used.check(NOW, token, Some("secret")).is_err());
        }
        assert!(used.check(NOW, token, None).is_err());
    }
    let address = Network {
        address: [10, 0, 0, 2].into(),
        prefix: 24,
    };
    let interface = Interface {
        name: "eth0".to_owned(),
        hardware: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        addresses: vec![address],
    };
    let stream = Stream {
        name: "porch".to_owned(),
        size: (1280, 720),
        fps: 30.0,
        kbit_per_s: 20_000,
        group: ([239, 255, 2, 3], 5000).into(),
        ttl: 1,
    };
    let device = Device {
        id: Uuid::LANCAM,
        host: "board",
        address: "10.0.0.2",
        page_port: 8080,
        rtsp_port: Some(8554),
        has_users: request.token.is_some(),
        is_clock_synchronised: true,
        now: NOW,
        interfaces: &|| vec![interface.clone()],
        streams: &[stream],
    };
    let reply = request.answer(&device);
    assert!([200, 400, 500].contains(&reply.status));
    Request::read(reply.body.as_bytes()).expect("an answer is an envelope");
});
