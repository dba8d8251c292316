//! Both services, asked as clients ask them.

use super::xml::{self, Element};
use super::*;

fn stream(name: &str, group: &str) -> Stream {
    Stream {
        name: name.to_owned(),
        size: (1280, 720),
        fps: 29.97,
        kbit_per_s: 20_000,
        group: group.parse().unwrap(),
        ttl: 1,
    }
}

/// The answer of a device with three streams: one to a group, one with an awkward name, one to a
/// single machine.
fn ask(
    namespace: &str,
    operation: &str,
    arguments: &str,
    rtsp_port: Option<u16>,
) -> (u16, Element) {
    let streams = [
        stream("porch", "239.255.2.3:5000"),
        stream("a/b & <c>", "[ff15::1]:5004"),
        stream("direct", "10.0.0.7:5000"),
    ];
    let address = |address: &str, prefix| Network {
        address: address.parse().unwrap(),
        prefix,
    };
    let interfaces = || {
        vec![Interface {
            name: "eth0".to_owned(),
            hardware: [2, 0, 0, 0xab, 0xcd, 0xef],
            mtu: 1500,
            addresses: vec![address("10.0.0.2", 24), address("fe80::2", 64)],
        }]
    };
    let device = Device {
        id: Uuid::LANCAM,
        host: "board",
        address: "10.0.0.2",
        page_port: 8080,
        rtsp_port,
        has_users: true,
        is_clock_synchronised: true,
        now: 1_795_831_200,
        interfaces: &interfaces,
        streams: &streams,
    };
    let text = format!(
        "<e:Envelope xmlns:e='{}' xmlns:o='{namespace}'><e:Body><o:{operation}>{arguments}</o:{operation}></e:Body></e:Envelope>",
        xml::ENVELOPE
    );
    let request = Request::read(text.as_bytes()).unwrap();
    let reply = request.answer(&device);
    let root = xml::read(reply.body.as_bytes()).unwrap_or_else(|e| panic!("{e}: {}", reply.body));
    let answer = root.child("Body").unwrap().children[0].clone();
    (reply.status, answer)
}

fn device(operation: &str, arguments: &str) -> Element {
    let (status, answer) = ask(xml::DEVICE, operation, arguments, Some(8554));
    assert_eq!(status, 200, "{answer:?}");
    assert!(answer.is(xml::DEVICE, &format!("{operation}Response")));
    answer
}

fn media(operation: &str, arguments: &str) -> Element {
    let (status, answer) = ask(xml::MEDIA, operation, arguments, Some(8554));
    assert_eq!(status, 200, "{answer:?}");
    assert!(answer.is(xml::MEDIA, &format!("{operation}Response")));
    answer
}

/// Status and codes of a fault.
fn fault(namespace: &str, operation: &str, arguments: &str) -> (u16, String) {
    let (status, fault) = ask(namespace, operation, arguments, None);
    assert!(fault.is(xml::ENVELOPE, "Fault"), "{fault:?}");
    let mut codes = Vec::new();
    let mut at = fault.child("Code");
    while let Some(code) = at {
        codes.push(code.text_of("Value").unwrap().to_owned());
        at = code.child("Subcode");
    }
    (status, codes.join(" "))
}

fn text<'a>(element: &'a Element, path: &str) -> &'a str {
    let mut at = element;
    for name in path.split('/') {
        at = at
            .child(name)
            .unwrap_or_else(|| panic!("no {name} of {path} in {element:?}"));
    }
    &at.text
}

#[test]
fn the_time_is_told_to_everybody() {
    let answer = device("GetSystemDateAndTime", "");
    let time = answer.child("SystemDateAndTime").unwrap();
    assert_eq!(text(time, "DateTimeType"), "NTP");
    assert_eq!(text(time, "UTCDateTime/Date/Year"), "2026");
    assert_eq!(text(time, "UTCDateTime/Time/Hour"), "2");
    let open = |namespace: &str, operation: &str| {
        let text = format!(
            "<e:Envelope xmlns:e='{}'><e:Body><{operation} xmlns='{namespace}'/></e:Body></e:Envelope>",
            xml::ENVELOPE
        );
        Request::read(text.as_bytes()).unwrap().is_open()
    };
    assert!(open(xml::DEVICE, "GetSystemDateAndTime"));
    assert!(!open(xml::DEVICE, "GetDeviceInformation"));
    assert!(!open(xml::MEDIA, "GetServiceCapabilities"));
    assert!(!open("", "GetSystemDateAndTime"));
}

#[test]
fn capabilities_name_the_services() {
    let base = "http://10.0.0.2:8080/onvif";
    let answer = device("GetCapabilities", "<Category>All</Category>");
    let all = answer.child("Capabilities").unwrap();
    assert_eq!(text(all, "Device/XAddr"), format!("{base}/device_service"));
    assert_eq!(text(all, "Media/XAddr"), format!("{base}/media_service"));
    let answer = device(
        "GetCapabilities",
        "<Category>PTZ</Category><Category>Media</Category>",
    );
    assert_eq!(answer.children[0].children.len(), 1);
    let ptz = fault(xml::DEVICE, "GetCapabilities", "<Category>PTZ</Category>");
    let codes = "env:Receiver ter:ActionNotSupported ter:NoSuchService";
    assert_eq!(ptz, (500, codes.to_owned()));

    let answer = device("GetServices", "<IncludeCapability>true</IncludeCapability>");
    assert_eq!(answer.children.len(), 2);
    assert_eq!(
        text(&answer.children[1], "XAddr"),
        format!("{base}/media_service")
    );
    assert_eq!(text(&answer.children[1], "Capabilities/Capabilities"), "");
    let answer = device(
        "GetServices",
        "<IncludeCapability>false</IncludeCapability>",
    );
    assert!(answer.children[0].child("Capabilities").is_none());
}

#[test]
fn the_device_describes_itself() {
    assert_eq!(
        text(&device("GetHostname", ""), "HostnameInformation/Name"),
        "board"
    );
    let information = device("GetDeviceInformation", "");
    assert_eq!(
        text(&information, "FirmwareVersion"),
        env!("CARGO_PKG_VERSION")
    );
    let interface = device("GetNetworkInterfaces", "");
    let interface = &interface.children[0];
    assert_eq!(text(interface, "Info/HwAddress"), "02:00:00:ab:cd:ef");
    assert_eq!(text(interface, "IPv4/Config/Manual/Address"), "10.0.0.2");
    assert_eq!(text(interface, "IPv6/Config/Manual/PrefixLength"), "64");
    let protocols = device("GetNetworkProtocols", "");
    assert_eq!(text(&protocols.children[1], "Port"), "8554");
    assert_eq!(device("GetScopes", "").children.len(), 5);
}

#[test]
fn each_stream_is_a_profile() {
    let profiles = media("GetProfiles", "");
    assert_eq!(profiles.children.len(), 3);
    let porch = &profiles.children[0];
    assert_eq!(porch.attribute("token"), Some("porch"));
    let encoder = porch.child("VideoEncoderConfiguration").unwrap();
    assert_eq!(text(encoder, "Encoding"), "JPEG");
    assert_eq!(text(encoder, "Resolution/Width"), "1280");
    assert_eq!(text(encoder, "RateControl/FrameRateLimit"), "30");
    assert_eq!(
        text(encoder, "Multicast/Address/IPv4Address"),
        "239.255.2.3"
    );
    let awkward = &profiles.children[1];
    assert_eq!(awkward.attribute("token"), Some("a/b & <c>"));
    let encoder = awkward.child("VideoEncoderConfiguration").unwrap();
    assert_eq!(text(encoder, "Multicast/Address/IPv6Address"), "ff15::1");
    let direct = profiles.children[2]
        .child("VideoEncoderConfiguration")
        .unwrap();
    assert_eq!(text(direct, "Multicast/AutoStart"), "false");

    let profile = media(
        "GetProfile",
        "<ProfileToken>a/b &amp; &lt;c></ProfileToken>",
    );
    assert_eq!(text(&profile, "Profile/Name"), "a/b & <c>");
    let token = "<ConfigurationToken>porch</ConfigurationToken>";
    for operation in [
        "GetVideoSourceConfiguration",
        "GetVideoEncoderConfiguration",
    ] {
        let configuration = media(operation, token);
        assert_eq!(configuration.children[0].attribute("token"), Some("porch"));
    }
    for operation in [
        "GetVideoSources",
        "GetVideoSourceConfigurations",
        "GetVideoEncoderConfigurations",
    ] {
        assert_eq!(media(operation, "").children.len(), 3);
    }
    let options = media("GetVideoEncoderConfigurationOptions", "");
    assert_eq!(
        text(&options, "Options/JPEG/ResolutionsAvailable/Height"),
        "720"
    );
}

#[test]
fn streams_and_pictures_have_addresses() {
    let uri = |token: &str, stream: &str, protocol: &str| {
        let arguments = format!(
            "<StreamSetup><Stream>{stream}</Stream><Transport><Protocol>{protocol}</Protocol></Transport></StreamSetup>\
             <ProfileToken>{token}</ProfileToken>"
        );
        let (status, answer) = ask(xml::MEDIA, "GetStreamUri", &arguments, Some(8554));
        match status {
            200 => text(&answer, "MediaUri/Uri").to_owned(),
            _ => text(&answer, "Code/Subcode/Subcode/Value").to_owned(),
        }
    };
    for protocol in ["UDP", "RTSP", "TCP"] {
        assert_eq!(
            uri("porch", "RTP-Unicast", protocol),
            "rtsp://10.0.0.2:8554/porch"
        );
    }
    let group = uri("porch", "RTP-Multicast", "UDP");
    assert_eq!(group, "rtsp://10.0.0.2:8554/porch/multicast");
    let awkward = uri("a/b &amp; &lt;c>", "RTP-Unicast", "RTSP");
    assert_eq!(awkward, "rtsp://10.0.0.2:8554/a%2Fb%20%26%20%3Cc%3E");
    let refused = [
        ("RTP-Unicast", "HTTP"),
        ("RTP-Multicast", "RTSP"),
        ("", "UDP"),
    ];
    for (stream, protocol) in refused {
        assert_eq!(uri("porch", stream, protocol), "ter:InvalidStreamSetup");
    }
    assert_eq!(
        uri("direct", "RTP-Multicast", "UDP"),
        "ter:InvalidStreamSetup"
    );
    assert_eq!(uri("attic", "RTP-Unicast", "UDP"), "ter:NoProfile");

    let picture = media(
        "GetSnapshotUri",
        "<ProfileToken>a/b &amp; &lt;c></ProfileToken>",
    );
    let expected = "http://10.0.0.2:8080/snapshot.jpg?stream=a%2Fb%20%26%20%3Cc%3E";
    assert_eq!(text(&picture, "MediaUri/Uri"), expected);
}

#[test]
fn what_there_is_not_is_a_fault() {
    let unknown = (500, "env:Receiver ter:ActionNotSupported".to_owned());
    assert_eq!(fault(xml::DEVICE, "SystemReboot", ""), unknown);
    assert_eq!(
        fault(xml::MEDIA, "SetVideoEncoderConfiguration", ""),
        unknown
    );
    assert_eq!(fault("urn:other", "GetProfiles", ""), unknown);
    let profile = (400, "env:Sender ter:InvalidArgVal ter:NoProfile".to_owned());
    assert_eq!(fault(xml::MEDIA, "GetProfile", ""), profile);
    let token = "<ProfileToken>attic</ProfileToken>";
    assert_eq!(fault(xml::MEDIA, "GetSnapshotUri", token), profile);
    let configuration = (400, "env:Sender ter:InvalidArgVal ter:NoConfig".to_owned());
    assert_eq!(
        fault(xml::MEDIA, "GetVideoEncoderConfiguration", token),
        configuration
    );
    // Without an RTSP server.
    let arguments = "<StreamSetup><Stream>RTP-Unicast</Stream><Transport><Protocol>RTSP</Protocol></Transport></StreamSetup>\
        <ProfileToken>porch</ProfileToken>";
    assert_eq!(fault(xml::MEDIA, "GetStreamUri", arguments), unknown);
}
