use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::jpeg::Sampling;
use crate::source::{CameraFormat, CameraSpec, ControlValue, SourceSpec};

/// What is answered to a config with mistakes.
#[track_caller]
fn answer(text: &str) -> String {
    match parse("porch.ron", text, &[]) {
        Ok(config) => panic!("no mistake was found in {text}: {config:?}"),
        Err(e) => e.to_string(),
    }
}

/// The config in `text`.
#[track_caller]
fn read(text: &str) -> Config {
    parse("porch.ron", text, &[]).unwrap_or_else(|e| panic!("{e}"))
}

fn line_and_column(mistake: &Mistake) -> (usize, usize) {
    let place = mistake.place.as_ref().unwrap();
    (place.line, place.column)
}

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The keys of a stream, as a mistake lists them.
fn stream_keys() -> String {
    let keys: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
    keys.join(", ")
}

#[test]
fn mistakes_in_a_stream_are_answered_exactly() {
    let table: &[(&str, &str)] = &[
        // Kinds and limits.
        (
            "ttl: 300",
            r#"1:18: "ttl" cannot be 300: expected a whole number from 0 to 255"#,
        ),
        (
            "ttl: -1",
            r#"1:18: "ttl" cannot be -1: expected a whole number from 0 to 255"#,
        ),
        (
            "ttl: 1.5",
            r#"1:18: "ttl" cannot be 1.5: expected a whole number from 0 to 255"#,
        ),
        (
            "ttl: \"one\"",
            r#"1:18: "ttl" cannot be "one": expected a whole number from 0 to 255"#,
        ),
        (
            "\n// why\n  ttl: /* x */ 999 // y\n",
            r#"3:16: "ttl" cannot be 999: expected a whole number from 0 to 255"#,
        ),
        (
            "loop: 1",
            r#"1:19: "loop" cannot be 1: expected true or false"#,
        ),
        (
            "loop: yes",
            r#"1:19: "loop" cannot be yes: expected true or false"#,
        ),
        (
            "pin: Some(5000)",
            r#"1:18: "pin" cannot be Some(5000): expected a whole number from 0 to 1023, or None"#,
        ),
        (
            "fps: NaN",
            r#"1:18: "fps" cannot be NaN: expected a number from 0.1 to 240, or None"#,
        ),
        (
            "resize: 640x360",
            r#"1:24: this value cannot be read; text needs quotes, as in name: "porch""#,
        ),
        (
            "resize: (64)",
            r#"1:21: "resize" cannot be (64): expected (WIDTH, HEIGHT), each from 16 to 8192, or None"#,
        ),
        (
            "resize: \"640x360\"",
            r#"1:21: "resize" cannot be "640x360": expected (WIDTH, HEIGHT), each from 16 to 8192, or None"#,
        ),
        (
            "mtu: 1279, group: \"[ff15::1]:10000\"",
            r#"1:18: "mtu" cannot be 1279: the group is IPv6, which needs 1280 or more"#,
        ),
        (
            "sdp: \"\"",
            r#"1:18: "sdp" cannot be "": the path is empty"#,
        ),
        (
            "sdp: \"a\\u{0}b\"",
            r#"1:18: "sdp" cannot be "a\u{0}b": a path cannot contain a zero byte"#,
        ),
        (
            "pacing: Spraed(0.5)",
            r#"1:21: "pacing" cannot be Spraed(0.5): expected Auto, Off or Spread(SHARE), above 0 and at most 0.8"#,
        ),
        (
            "pacing: auto",
            r#"1:21: "pacing" cannot be auto: expected Auto, Off or Spread(SHARE), above 0 and at most 0.8"#,
        ),
        (
            "pacing: Spread",
            r#"1:21: "pacing" cannot be Spread: expected Auto, Off or Spread(SHARE), above 0 and at most 0.8"#,
        ),
        (
            "pacing: Off(1)",
            r#"1:21: "pacing" cannot be Off(1): expected Auto, Off or Spread(SHARE), above 0 and at most 0.8"#,
        ),
        (
            "repair: 0.2",
            r#"1:21: "repair" cannot be 0.2: expected Off, Fixed(SHARE) or Auto(max: SHARE), above 0 and at most 1"#,
        ),
        (
            "repair: Auto(max: 2)",
            r#"1:31: "max" cannot be 2: expected a number above 0 and at most 1"#,
        ),
        (
            "adapt: FrameRate(min: 0)",
            r#"1:35: "min" cannot be 0: expected a number from 0.1 to 240"#,
        ),
        (
            "adapt: FrameRate(5)",
            r#"1:20: "adapt" cannot be FrameRate(5): expected Off or FrameRate(min: FPS), 0.1 to 240"#,
        ),
        (
            "wait_for_viewers: (count: 0)",
            r#"1:39: "count" cannot be 0: expected a whole number from 1 to 10000"#,
        ),
        (
            "wait_for_viewers: (at_most_s: 86401)",
            r#"1:43: "at_most_s" cannot be 86401: expected a whole number from 1 to 86400"#,
        ),
        (
            "wait_for_viewers: 1",
            r#"1:31: "wait_for_viewers" cannot be 1: expected numbers as in (count: 1, at_most_s: 10), or None"#,
        ),
        // Names and addresses.
        (
            "name: \"\"",
            r#"1:19: "name" cannot be "": expected 1 to 64 characters"#,
        ),
        (
            "name: \"a\\u{1b}b\"",
            r#"1:19: "name" cannot be "a\u{1b}b": it contains the invisible character U+001B"#,
        ),
        (
            "name: porch",
            r#"1:19: "name" cannot be porch: expected text in quotes, such as "porch""#,
        ),
        (
            "name: None",
            r#"1:19: "name" cannot be None: expected text in quotes, such as "porch""#,
        ),
        (
            "group: \"224.3.29.71\"",
            r#"1:20: "group" cannot be "224.3.29.71": the port is missing; write 224.3.29.71:10000"#,
        ),
        (
            "group: \"porch:5000\"",
            r#"1:20: "group" cannot be "porch:5000": expected ADDRESS:PORT, such as 224.3.29.71:10000"#,
        ),
        (
            "group: \"224.3.29.71:0\"",
            r#"1:20: "group" cannot be "224.3.29.71:0": the port must be from 1 to 65531: RTCP uses the next one, repair the fourth after it"#,
        ),
        (
            "group: \"0.0.0.0:5000\"",
            r#"1:20: "group" cannot be "0.0.0.0:5000": nothing can be sent there; give a group or one machine's address"#,
        ),
        (
            "interface: \"a-very-long-name\"",
            r#"1:24: "interface" cannot be "a-very-long-name": an interface's name has at most 15 bytes"#,
        ),
        (
            "interface: \"\"",
            r#"1:24: "interface" cannot be "": expected an interface's name or address, such as eth0"#,
        ),
        (
            "interface: 5",
            r#"1:24: "interface" cannot be 5: expected text in quotes, such as "eth0", or None"#,
        ),
        // Sources.
        (
            "source: File(\"\")",
            r#"1:26: "File" cannot be "": the path is empty"#,
        ),
        (
            "source: File(clip)",
            r#"1:26: "File" cannot be clip: expected text in quotes, such as "clip.avi""#,
        ),
        (
            "source: Exec(\" \")",
            r#"1:26: "Exec" cannot be " ": the command is empty"#,
        ),
        (
            "source: Pattern(\"640\")",
            r#"1:29: "Pattern" cannot be "640": expected WIDTHxHEIGHT@FPS, such as 1280x720@30"#,
        ),
        (
            "source: Stdin()",
            r#"1:21: "source" cannot be Stdin(): expected Camera(device: "/dev/video0"), File("clip.avi"), Pattern("1280x720@30"), Exec("rpicam-vid ...") or Stdin"#,
        ),
        (
            "source: Camera(devise: \"x\")",
            r#"1:28: unknown key "devise" in Camera(...); did you mean "device"? (the keys are device, format, size, fps, sampling, controls)"#,
        ),
        (
            "source: Camera(format: Mjpg)",
            r#"1:36: "format" cannot be Mjpg: expected Auto, Mjpeg, Yuyv, Nv12, Yu12 or Rgb3"#,
        ),
        (
            "source: Camera(sampling: Yuv444)",
            r#"1:38: "sampling" cannot be Yuv444: expected Yuv420 or Yuv422"#,
        ),
        (
            "source: Camera(size: (0, 480))",
            r#"1:34: "size" cannot be (0, 480): expected (WIDTH, HEIGHT), each from 1 to 65535, or None"#,
        ),
        (
            "source: Camera(controls: {\"gain\": 1.5})",
            r#"1:47: "gain" cannot be 1.5: expected a whole number, true, false or text in quotes"#,
        ),
        (
            "source: Camera(controls: [1])",
            r#"1:38: "controls" cannot be [1]: expected controls by name, such as {"gain": 32, "exposure_auto": "manual"}"#,
        ),
        (
            "source: Camera(fps: 15), fps: 30",
            r#"1:43: "fps" cannot be 30: the camera has another fps; keep one of them"#,
        ),
        (
            "source: Stdin, only_while_watched: true",
            r#"1:48: "only_while_watched" cannot be true: standard input cannot be closed and opened again; use Exec"#,
        ),
        // Keys.
        ("ttl: 1, ttl: 2", r#"1:21: "ttl" is given twice; keep one"#),
        // Not RON.
        (
            "name = \"porch\"",
            r#"1:18: expected a colon here, as in name: "porch""#,
        ),
        (
            "name: \"porch\" ttl: 1",
            "1:27: a comma is missing before this",
        ),
        ("ttl: 1 dscp: 2", "1:20: a comma is missing before this"),
        (
            "name \"porch\"",
            "1:18: a colon is missing before this, as in name: \"porch\"",
        ),
        (
            "name: \"porch\"]",
            "1:26: this ] does not match the bracket that is open",
        ),
        (
            "group: 224.3.29.71:10000",
            r#"1:20: this value cannot be read; text needs quotes, as in name: "porch""#,
        ),
        (
            "name: the porch",
            r#"1:23: this value cannot be read; text needs quotes, as in name: "porch""#,
        ),
        (
            "sdp: /tmp/porch.sdp",
            r#"1:20: this value cannot be read; text needs quotes, as in name: "porch""#,
        ),
        (
            "sdp: \"C:\\Videos\"",
            r"1:23: the \ before this does not begin an escape; write \\ for a backslash",
        ),
        (
            "ttl: 0x",
            r#"1:20: this value cannot be read; text needs quotes, as in name: "porch""#,
        ),
        (
            "ttl: 12abc",
            r#"1:20: this value cannot be read; text needs quotes, as in name: "porch""#,
        ),
        (
            "ttl: 'x'",
            r#"1:18: "ttl" cannot be 'x': expected a whole number from 0 to 255"#,
        ),
        ("ttl: ,", "1:18: the value is missing here"),
        ("ttl: @", "1:18: this is not expected here"),
        ("1: 2", "1:14: a comma is missing before this"),
    ];
    let told = table.iter().filter_map(|(stream, want)| {
        let text = format!("(streams: [({stream})])");
        let told = parse("porch.ron", &text, &[])
            .map_or_else(|e| e.to_string(), |_| "no mistake".to_owned());
        (told != format!("porch.ron:{want}")).then_some(format!("{stream}: {told}"))
    });
    assert_eq!(told.collect::<Vec<_>>().join("\n"), "");
}

#[test]
fn mistakes_in_a_file_are_answered_exactly() {
    let keys = stream_keys();
    let list = r#"expected a list of streams, such as [(name: "porch")]"#;
    let open = r#"expected ( here: a config looks like (streams: [(name: "porch")])"#;
    let sources = r#"Camera(device: "/dev/video0"), File("clip.avi"), Pattern("1280x720@30"), Exec("rpicam-vid ...") or Stdin"#;
    let table: Vec<(&str, String)> = vec![
        ("(streams: [(\n        pining: 3)])", format!("2:9: unknown key \"pining\" in a stream; did you mean \"pin\"? (the keys are {keys})")),
        ("(streams: [(device: \"x\")])", format!("1:13: unknown key \"device\" in a stream; it belongs in the camera: source: Camera(device: ...) (the keys are {keys})")),
        ("(name: \"x\")", r#"1:2: unknown key "name" in the config; it belongs in a stream: streams: [(name: ...)] (the keys are streams, status, rtsp, users, onvif, dns_sd)"#.to_owned()),
        ("(streams: [(source: Kamera())])", format!("1:21: \"source\" cannot be Kamera(): expected {sources}")),
        ("(streams: [(source: \"/dev/video0\")])", format!("1:21: \"source\" cannot be \"/dev/video0\": expected {sources}")),
        ("(streams: [])", "1:11: \"streams\" cannot be []: without a stream there is nothing to send".to_owned()),
        ("(streams: (name: \"a\"))", format!("1:11: \"streams\" cannot be (name: \"a\"): {list}")),
        ("(streams: [\"a\"])", r#"1:12: "streams" cannot be "a": expected a stream, such as (name: "porch")"#.to_owned()),
        ("", format!("1:1: {open}")),
        ("{\"streams\": []}", format!("1:1: {open}")),
        ("config(streams: [])", format!("1:1: {open}")),
        ("(streams: [(name: \"porch)])", "1:20: the text that begins here has no closing quote".to_owned()),
        ("(streams: [(name: \"porch\"", "1:26: the file ends early; a closing bracket is missing".to_owned()),
        ("() x", "1:4: the config ends before this; remove the rest".to_owned()),
        ("#![enable(no_such)]\n()", "1:18: a config needs no #![...]; remove it".to_owned()),
        ("(status: On(listen: \"8080\"))", "1:21: \"listen\" cannot be \"8080\": expected ADDRESS:PORT, such as 127.0.0.1:8080".to_owned()),
        ("(status: On(listen: \"::1\"))", "1:21: \"listen\" cannot be \"::1\": the port is missing; write [::1]:8080".to_owned()),
        ("(status: On(token: \"short\"))", "1:20: \"token\" cannot be \"short\": expected 8 to 256 printable ASCII characters without spaces".to_owned()),
        ("(status: Of)", "1:10: \"status\" cannot be Of: expected Off or On(listen: \"127.0.0.1:8080\", token: None, embed: [])".to_owned()),
        ("(status: On(embed: [\"ha.local\"]))", "1:20: \"embed\" cannot be [\"ha.local\"]: expected the beginning of a page's address, such as https://ha.local".to_owned()),
        ("(rtsp: On)", "1:8: \"rtsp\" cannot be On: expected Off or On(listen: \"[::]:8554\")".to_owned()),
        ("(rtsp: On(listen: \"8554\"))", "1:19: \"listen\" cannot be \"8554\": expected ADDRESS:PORT, such as [::]:8554".to_owned()),
        ("(users: \"viewer\")", "1:9: \"users\" cannot be \"viewer\": expected {\"NAME\": \"PASSWORD\"} or File(\"/etc/lancam/users\")".to_owned()),
        ("(users: {\"viewer\": \"short\"})", "1:9: \"users\" cannot be {\"viewer\": \"short\"}: the password of viewer: expected 8 to 256 printable ASCII characters without spaces".to_owned()),
        ("(onvif: true)", "1:9: \"onvif\" cannot be true: ONVIF is answered by the status page's server; set \"status\" too".to_owned()),
        ("(dns_sd: 1)", "1:10: \"dns_sd\" cannot be 1: expected true or false".to_owned()),
        // Two streams.
        ("(streams: [(name: \"a\"), (name: \"b\", source: Stdin)])", r#"1:25: streams "a" and "b" send to the same group, 224.3.29.71:10000; give each its own "group""#.to_owned()),
        ("(streams: [(source: Stdin), (source: Stdin, group: \"224.3.29.72:10000\")])", "1:29: two streams are called \"lancam\"; give each its own \"name\"\nporch.ron:1:38: streams \"lancam\" and \"lancam\" have the same source, -, which can be read only once".to_owned()),
        ("(streams: [(name: \"a\"), (name: \"b\", source: Stdin, group: \"224.3.29.71:10004\")])", r#"1:59: streams "a" and "b" both need port 10004 of 224.3.29.71, as RTCP uses the port after a stream's own and repair the fourth after it; choose ports 10 apart"#.to_owned()),
        ("(streams: [(name: \"a\", sdp: \"x.sdp\"), (name: \"b\", sdp: \"x.sdp\", source: Stdin, group: \"224.3.29.72:10000\")])", r#"1:56: streams "a" and "b" write the same SDP file; give each its own "sdp""#.to_owned()),
    ];
    let told = table.iter().filter_map(|(text, want)| {
        let told = answer(text);
        (told != format!("porch.ron:{want}")).then_some(format!("{text}: {told}"))
    });
    assert_eq!(told.collect::<Vec<_>>().join("\n"), "");
}

/// Numbers beyond the limits of a row, in the forms that the file and the command line have for it.
fn beyond(setting: &Setting) -> Vec<(String, String)> {
    let limits = (setting.limits)();
    let numbers: Vec<f64> = limits
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let [least, most] = numbers[..] else {
        panic!("{}: {limits}", setting.key);
    };
    // "above 0": 0 is too little.
    let below = if limits.starts_with("above") {
        least
    } else {
        least - 1.0
    };
    let form = |number: f64| match setting.key {
        "pacing" => (format!("Spread({number})"), number.to_string()),
        "repair" => (format!("Fixed({number})"), number.to_string()),
        "adapt" => (format!("FrameRate(min: {number})"), String::new()),
        "resize" => (format!("({number}, {least})"), format!("{number}x{least}")),
        _ => (number.to_string(), number.to_string()),
    };
    [below, most + 1.0, f64::NAN].map(form).into()
}

#[test]
fn every_limit_is_refused_in_the_file_and_on_the_command_line_with_one_sentence() {
    let mut rows = 0;
    for setting in SETTINGS.iter().filter(|s| !(s.limits)().is_empty()) {
        for (in_file, on_line) in beyond(setting) {
            let told = answer(&format!("(streams: [({}: {in_file})])", setting.key));
            let (_, told) = told
                .split_once("expected ")
                .unwrap_or_else(|| panic!("{told}"));
            if setting.flag.is_none() {
                assert_eq!(setting.key, "adapt");
                continue;
            }
            let flag = (setting.to_ron)(&on_line).unwrap_err();
            let flag = flag
                .strip_prefix("expected ")
                .unwrap_or_else(|| panic!("{flag}"));
            // The notation differs, the limits do not.
            let same = told
                .trim_end_matches(", or None")
                .replace("(WIDTH, HEIGHT)", "WIDTHxHEIGHT");
            match setting.key {
                "pacing" | "repair" => assert!(
                    told.contains(&(setting.limits)()) && flag.contains(&(setting.limits)())
                ),
                _ => assert_eq!(same, flag, "{}", setting.key),
            }
        }
        rows += 1;
    }
    assert!(rows >= 11, "{rows} settings with limits");
}

/// Whether `words` stand in `text`, not as a part of longer ones or of other numbers.
fn has_words(text: &str, words: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || c == '.';
    text.match_indices(words).any(|(at, _)| {
        let rest = text[at + words.len()..].trim_start_matches('.');
        !text[..at].ends_with(goes_on) && !rest.starts_with(char::is_alphanumeric)
    })
}

#[test]
fn every_setting_is_documented() {
    let ron = std::fs::read_to_string(repository("config/lancam.ron")).unwrap();
    let fields: super::raw::Fields<'_> = super::raw::read(&ron).unwrap();
    let streams: Vec<super::raw::Fields<'_>> =
        super::raw::read(fields.get("streams").unwrap()).unwrap();
    let page = std::fs::read_to_string(repository("docs/CONFIGURATION.md")).unwrap();
    let mut before = fields.get("streams").unwrap();
    for setting in SETTINGS {
        let key = setting.key;
        // Its value stands there, and the comment before it tells its limits.
        let value = streams[0].get(key).unwrap_or_else(|| {
            // Written there, it would be one that the user chose.
            let (_, comment) = before.split_once("// group: ").expect(key);
            comment.lines().next().unwrap()
        });
        let offset = value.as_ptr() as usize - before.as_ptr() as usize;
        let limits = (setting.limits)();
        let comment = before[..offset].replace("\n            // ", " ");
        let limits = limits.trim_start_matches("above 0 and ");
        assert!(has_words(&comment, limits), "{key}: {limits}: {comment}");
        before = &before[offset + value.len()..];
        // So does its row.
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")));
        let row = row.unwrap_or_else(|| panic!("{key} is not in docs/CONFIGURATION.md"));
        let default = row
            .split('|')
            .nth(2)
            .unwrap()
            .replace(['`', '"'], "")
            .to_lowercase();
        assert!(
            has_words(&default, &(setting.default)().to_lowercase()),
            "{row}: {}",
            (setting.default)()
        );
    }
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = "(streams: [(ttl: -1, quality: 0), (nmae: \"b\")])";
    let Err(ConfigError::Mistakes(mistakes)) = parse("x", text, &[]) else {
        panic!("no mistakes");
    };
    let places: Vec<_> = mistakes.iter().map(line_and_column).collect();
    assert_eq!(places, [(1, 18), (1, 31), (1, 36)]);
}

#[test]
fn all_that_can_be_written_is_read() {
    let config = read(
        r#"(
            streams: [(
                name: "porch",
                source: Camera(
                    device: "/dev/video0", format: Mjpeg, size: (1280, 720), fps: Some(30), sampling: Yuv422,
                    controls: {"gain": 32, "focus_auto": false, "exposure_auto": "manual"},
                ),
                group: "[ff15::1]:5004", interface: "eth0", ttl: 4, loopback: false, dscp: 0, mtu: 1280,
                pacing: Spread(0.8), repair: Auto(max: 0.25), retransmit: true, pin: 3,
                realtime: Some(10), lock_memory: true, fps: None, loop: true, resize: (640, 360),
                quality: 100, sdp: "porch.sdp", wait_for_viewers: (count: 2, at_most_s: 5),
                adapt: FrameRate(min: 2.5), only_while_watched: true, announce: false,
            )],
            status: On(listen: "0.0.0.0:80", token: "correct-horse", embed: ["https://HA.local", "http://10.0.0.7:8123"]),
        )"#,
    );
    let controls = [
        ("exposure_auto", ControlValue::Text("manual".to_owned())),
        ("focus_auto", ControlValue::Number(0)),
        ("gain", ControlValue::Number(32)),
    ];
    let want = Stream {
        name: "porch".to_owned(),
        source: SourceSpec::Camera(CameraSpec {
            device: "/dev/video0".into(),
            format: CameraFormat::Mjpeg,
            size: Some((1280, 720)),
            fps: Some(30.0),
            controls: controls.map(|(k, v)| (k.to_owned(), v)).into(),
            quality: 100,
            sampling: Sampling::Yuv422,
        }),
        group: "[ff15::1]:5004".parse().unwrap(),
        group_chosen: true,
        interface: Some("eth0".to_owned()),
        ttl: 4,
        loopback: false,
        dscp: 0,
        mtu: Some(1280),
        pacing: Pacing::Spread(0.8),
        repair: Repair::Auto { max: 0.25 },
        retransmit: true,
        pin: Some(3),
        realtime: Some(10),
        lock_memory: true,
        looped: true,
        resize: Some((640, 360)),
        quality: 100,
        sdp: Some("porch.sdp".into()),
        wait_for_viewers: Some(WaitForViewers {
            count: 2,
            at_most_s: 5,
        }),
        adapt: Adapt::FrameRate { min: 2.5 },
        only_while_watched: true,
        announce: false,
        ..Stream::default()
    };
    assert_eq!(config.streams, [want]);
    let want = Status::On {
        listen: "0.0.0.0:80".parse().unwrap(),
        token: Some("correct-horse".to_owned()),
        embed: vec![
            "https://ha.local".to_owned(),
            "http://10.0.0.7:8123".to_owned(),
        ],
    };
    assert_eq!(config.services.status, want);
}

#[test]
fn the_frame_rate_reaches_the_camera() {
    let config = read("(streams: [(source: Camera(), fps: 15)])");
    let SourceSpec::Camera(camera) = &config.streams[0].source else {
        panic!("no camera");
    };
    assert_eq!(camera.fps, Some(15.0));
}

#[test]
fn an_empty_config_is_the_default_one() {
    assert_eq!(parse("x", "()", &[]).unwrap(), Config::default());
    assert_eq!(
        parse("x", "\u{feff}(streams: [()])", &[]).unwrap(),
        Config::default()
    );
}

#[test]
fn the_commented_config_holds_the_defaults() {
    let path = repository("config/lancam.ron");
    assert_eq!(load(&path, &[]).unwrap(), Config::default());
}

#[test]
fn the_examples_can_be_used() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(repository("config/examples")).unwrap() {
        let path = entry.unwrap().path();
        let config = load(&path, &[]).unwrap_or_else(|e| panic!("{e}"));
        assert!(!describe(&config).is_empty());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    let want = [
        "100mbit.ron",
        "appliance.ron",
        "file-loop.ron",
        "ipv6.ron",
        "ssm.ron",
        "two-cameras.ron",
        "wifi.ron",
    ];
    assert_eq!(names, want);
}

#[test]
fn a_config_is_told_in_plain_words() {
    assert_eq!(
        describe(&Config::default()),
        "\
stream \"lancam\"
  source              the only camera, MJPEG if it has that
  group               224.3.29.71:10000, or another one if that is taken
  interface           the one that fits best
status page: off
RTSP: off
"
    );
    let text = "(streams: [(name: \"porch\", source: File(\"clip.avi\"), loop: true, fps: 25,
        group: \"10.0.0.7:5004\", interface: \"eth0\", ttl: 3, loopback: false, dscp: 0, mtu: 1400,
        pacing: Spread(0.5), repair: Auto(max: 0.25), retransmit: true, pin: 3, realtime: 10,
        lock_memory: true, resize: (640, 360), quality: 70, sdp: \"porch.sdp\",
        wait_for_viewers: (count: 1), adapt: FrameRate(min: 5), only_while_watched: true,
        announce: false)], status: On(listen: \"0.0.0.0:8080\"))";
    assert_eq!(
        describe(&read(text)),
        "\
stream \"porch\"
  source              the file clip.avi
  group               10.0.0.7:5004, a single machine, so it is not announced
  interface           eth0
  ttl                 3: crosses up to 2 routers
  loopback            off: viewers on this machine get nothing
  dscp                0
  mtu                 packets of up to 1400 bytes
  pacing              each frame over 50 % of the frame interval
  repair              up to 25 % more packets, as viewers lose them
  retransmit          on: packets that viewers ask for are sent again
  pin                 runs on core 3
  realtime            SCHED_FIFO, priority 10
  lock_memory         on: all memory stays in RAM
  fps                 25 fps
  loop                on: a file starts again at its end
  resize              to fit 640x360, encoded again
  quality             70
  sdp                 written to porch.sdp
  wait_for_viewers    starts when a viewer reports, or after 10 s
  adapt               down to 5 fps while the network is full
  only_while_watched  on: the source is open only while somebody watches
  announce            off: not announced
status page: http://0.0.0.0:8080/, for everyone who can reach this machine; a token would keep strangers out
RTSP: off
"
    );
    let text = "(status: On(), rtsp: On(listen: \"0.0.0.0:554\"), onvif: true, dns_sd: false,
        users: {\"viewer\": \"correct-horse\", \"nvr\": \"battery-staple\"})";
    let told = describe(&read(text));
    let (_, services) = told.split_once("status page").unwrap();
    assert_eq!(
        services,
        "\
: http://127.0.0.1:8080/, for this machine only
RTSP: rtsp://0.0.0.0:554/, for 2 users
ONVIF: at the status page's address, for 2 users
DNS-SD: off
"
    );
}

#[test]
fn files_that_are_no_config() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.ron");
    assert_eq!(
        load(&missing, &[]).unwrap_err().to_string(),
        format!(
            "cannot read the config {}: No such file or directory",
            missing.display()
        )
    );
    assert!(matches!(
        load(dir.path(), &[]),
        Err(ConfigError::Unreadable { .. })
    ));

    let large = dir.path().join("large.ron");
    std::fs::write(&large, vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(matches!(load(&large, &[]), Err(ConfigError::TooLarge(_))));

    let binary = dir.path().join("binary.ron");
    std::fs::write(&binary, [0xff, 0xd8, 0xff]).unwrap();
    assert!(matches!(load(&binary, &[]), Err(ConfigError::NotText(_))));
}

#[test]
fn deep_nesting_is_refused() {
    for open in ["(", "[", "{", "Some(", "(streams: [(name: ", "/*"] {
        let text = format!("(streams: {}", open.repeat(50_000));
        assert!(parse("x", &text, &[]).is_err());
    }
}

#[test]
fn a_file_full_of_mistakes_is_answered_briefly() {
    let text = format!("(streams: [{}])", "(ttl: 999, dscp: 999),".repeat(60));
    assert_eq!(answer(&text).lines().count(), 20);
    let text = format!("(streams: [{}])", "(),".repeat(300_000));
    assert_eq!(answer(&text).lines().count(), 1);
}

/// Whatever is in the file: an answer, and one that can be shown.
fn check_answer(text: &str) {
    match parse("x", text, &[]) {
        Ok(config) => assert!(!describe(&config).is_empty()),
        Err(ConfigError::Mistakes(mistakes)) => {
            assert!(!mistakes.is_empty());
            let lines = 1 + text.matches('\n').count();
            for m in &mistakes {
                assert!((1..=lines).contains(&line_and_column(m).0), "{m} in {text}");
                assert!(!m.sentence.chars().any(char::is_control), "{m} in {text}");
            }
        }
        Err(other) => panic!("{other}"),
    }
}

/// Words of which configs, good and bad, are made.
const WORDS: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "'",
    "=",
    "//",
    "/*",
    "*/",
    "\n",
    " ",
    "-",
    ".",
    "0",
    "1",
    "65535",
    "1e999",
    "NaN",
    "inf",
    "0x",
    "_",
    "r#\"",
    "\"#",
    "b\"",
    "\\",
    "\u{1b}",
    "\u{202e}",
    "ä",
    "#![enable(",
    "streams",
    "name",
    "source",
    "group",
    "ttl",
    "pin",
    "pacing",
    "resize",
    "controls",
    "status",
    "loop",
    "Camera",
    "File",
    "Pattern",
    "Spread",
    "Auto",
    "Some",
    "None",
    "true",
    "\"224.3.29.71:10000\"",
    "\"a\"",
    "..",
    "..=",
];

proptest! {
    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,200}") {
        check_answer(&text);
        check_answer(&format!("(streams: [({text})])"));
        check_answer(&format!("(streams: [(name: \"{text}\", source: Exec(\"{text}\"))])"));
    }

    #[test]
    fn any_words_get_an_answer(words in prop::collection::vec(prop::sample::select(WORDS), 0..60)) {
        check_answer(&words.concat());
        check_answer(&format!("(streams: [({})])", words.concat()));
        check_answer(&format!("(streams: [(source: Camera({}))])", words.concat()));
    }

    #[test]
    fn a_damaged_config_gets_an_answer(
        from in any::<prop::sample::Index>(),
        length in 0..40usize,
        word in prop::sample::select(WORDS),
    ) {
        let mut text: Vec<char> = include_str!("../../config/lancam.ron").chars().collect();
        let from = from.index(text.len());
        let to = (from + length).min(text.len());
        text.splice(from..to, word.chars());
        check_answer(&text.into_iter().collect::<String>());
    }
}
