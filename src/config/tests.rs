use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::jpeg::Sampling;
use crate::source::{CameraFormat, CameraSpec, ControlValue, SourceSpec};

/// What is answered to a config with mistakes.
#[track_caller]
fn answer(text: &str) -> String {
    match parse("porch.ron", text) {
        Ok(config) => panic!("no mistake was found in {text}: {config:?}"),
        Err(e) => e.to_string(),
    }
}

/// The config in `text` with everything taken as built.
#[track_caller]
fn built(text: &str) -> Config {
    resolve::resolve("porch.ron", text, &[]).unwrap_or_else(|e| panic!("{e}"))
}

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

const STREAM_KEYS: &str = "name, source, group, interface, ttl, loopback, dscp, mtu, pacing, repair, \
    retransmit, pin, realtime, lock_memory, fps, loop, resize, quality, sdp, wait_for_viewers, adapt, \
    only_while_watched, announce";
const SOURCES: &str = "Camera(device: \"/dev/video0\"), File(\"clip.avi\"), Pattern(\"1280x720@30\"), \
    Exec(\"rpicam-vid ...\") or Stdin";

#[test]
fn mistakes_in_a_stream_are_answered_exactly() {
    let table: &[(&str, &str)] = &[
        // Types and ranges.
        (
            "ttl: 300",
            r#"1:18: "ttl" cannot be 300: write a whole number from 0 to 255"#,
        ),
        (
            "ttl: \"one\"",
            r#"1:18: "ttl" cannot be "one": write a whole number from 0 to 255"#,
        ),
        (
            "\n// why\n  ttl: /* x */ 999 // y\n",
            r#"3:16: "ttl" cannot be 999: write a whole number from 0 to 255"#,
        ),
        (
            "dscp: 64",
            r#"1:19: "dscp" cannot be 64: write a whole number from 0 to 63"#,
        ),
        (
            "quality: 0",
            r#"1:22: "quality" cannot be 0: write a whole number from 1 to 100"#,
        ),
        (
            "loop: 1",
            r#"1:19: "loop" cannot be 1: write true or false"#,
        ),
        (
            "pin: yes",
            r#"1:18: "pin" cannot be yes: write the number of a core from 0 to 1023, or None"#,
        ),
        (
            "pin: Some(5000)",
            r#"1:18: "pin" cannot be Some(5000): write the number of a core from 0 to 1023, or None"#,
        ),
        (
            "realtime: 100",
            r#"1:23: "realtime" cannot be 100: write a whole number from 1 to 99, or None"#,
        ),
        (
            "mtu: 575",
            r#"1:18: "mtu" cannot be 575: write a whole number from 576 (IPv6: 1280) to 65535, or None"#,
        ),
        (
            "mtu: 1279, group: \"[ff15::1]:10000\"",
            r#"1:18: "mtu" cannot be 1279: the group is IPv6; write a whole number from 576 (IPv6: 1280) to 65535, or None"#,
        ),
        (
            "fps: 0",
            r#"1:18: "fps" cannot be 0: write a number from 0.1 to 240, or None"#,
        ),
        (
            "fps: NaN",
            r#"1:18: "fps" cannot be NaN: write a number from 0.1 to 240, or None"#,
        ),
        (
            "resize: (15, 64)",
            r#"1:21: "resize" cannot be (15, 64): write (WIDTH, HEIGHT) with sides from 16 to 8192, or None"#,
        ),
        (
            "sdp: \"\"",
            r#"1:18: "sdp" cannot be "": the path is empty; write the path of a file in quotes, or None"#,
        ),
        (
            "pacing: Spread(0.9)",
            r#"1:21: "pacing" cannot be Spread(0.9): write Auto, Off or Spread(FRACTION) with a fraction above 0 and at most 0.8"#,
        ),
        (
            "pacing: Spread(0)",
            r#"1:21: "pacing" cannot be Spread(0): write Auto, Off or Spread(FRACTION) with a fraction above 0 and at most 0.8"#,
        ),
        (
            "pacing: Spraed(0.5)",
            r#"1:21: "pacing" cannot be Spraed; did you mean Spread? Write Auto, Off or Spread(FRACTION) with a fraction above 0 and at most 0.8"#,
        ),
        (
            "repair: Fixed(1.5)",
            r#"1:21: "repair" cannot be Fixed(1.5): write Off, Fixed(SHARE) or Auto(max: SHARE) with a share above 0 and at most 1"#,
        ),
        (
            "adapt: FrameRate(min: 0)",
            r#"1:20: "adapt" cannot be FrameRate(min: 0): write Off or FrameRate(min: FPS) with 0.1 to 240 frames a second"#,
        ),
        // Names and addresses.
        (
            "name: \"\"",
            r#"1:19: "name" cannot be "": it is empty; write a text of 1 to 64 characters in quotes"#,
        ),
        (
            "name: \"a\\u{1b}b\"",
            r#"1:19: "name" cannot be "a\u{1b}b": it holds the invisible character U+001B; write a text of 1 to 64 characters in quotes"#,
        ),
        (
            "name: porch",
            r#"1:19: "name" cannot be porch: write a text of 1 to 64 characters in quotes"#,
        ),
        (
            "group: \"224.3.29.71\"",
            r#"1:20: "group" cannot be "224.3.29.71": the port is missing: 224.3.29.71:10000; write "ADDRESS:PORT", for example "224.3.29.71:10000" or "[ff15::1d47]:10000""#,
        ),
        (
            "group: \"224.3.29.71:0\"",
            r#"1:20: "group" cannot be "224.3.29.71:0": its port must be 1 to 65531: RTCP uses the port above it, repair the fourth above it; write "ADDRESS:PORT", for example "224.3.29.71:10000" or "[ff15::1d47]:10000""#,
        ),
        (
            "interface: \"a-very-long-name\"",
            r#"1:24: "interface" cannot be "a-very-long-name": it is 16 bytes long; Linux allows 15; write an interface's name or address in quotes, for example "eth0", or None"#,
        ),
        // Sources.
        (
            "source: File(\"\")",
            r#"1:26: "File" cannot be "": the path is empty; write the path of a file in quotes"#,
        ),
        (
            "source: Exec(\" \")",
            r#"1:26: "Exec" cannot be " ": the command is empty; write a shell command in quotes"#,
        ),
        (
            "source: Pattern(\"640\")",
            r#"1:29: "Pattern" cannot be "640": `pattern:640` is no pattern: write pattern, pattern:1280x720 or pattern:1280x720@30; write "WIDTHxHEIGHT@FPS", for example "1280x720@30""#,
        ),
        (
            "source: Camera(devise: \"x\")",
            r#"1:28: unknown key "devise" in Camera(...); did you mean "device"? allowed: device, format, size, fps, sampling, controls"#,
        ),
        (
            "source: Camera(format: Mjpg)",
            r#"1:36: "format" cannot be Mjpg; did you mean Mjpeg? Write Auto, Mjpeg, Yuyv, Nv12, Yu12 or Rgb3"#,
        ),
        (
            "source: Camera(controls: {\"gain\": 1.5})",
            r#"1:47: "controls" cannot be 1.5: write {"gain": 32, "exposure_auto": "manual"}: a number, true, false or a text for each"#,
        ),
        (
            "source: Camera(fps: 15), fps: 30",
            r#"1:43: "fps" cannot be 30: the camera's own fps says otherwise, keep one of them; write a number from 0.1 to 240, or None"#,
        ),
        // Keys.
        ("ttl: 1, ttl: 2", r#"1:21: "ttl" is there twice: keep one"#),
        (
            "source: Stdin, only_while_watched: true",
            r#"1:48: "only_while_watched" cannot be true: standard input cannot be closed and opened again, use Exec; write true or false"#,
        ),
        (
            "wait_for_viewers: (count: 0)",
            r#"1:39: "count" cannot be 0: write a whole number from 1 to 10000"#,
        ),
        // No RON.
        (
            "name = \"porch\"",
            r#"1:18: a colon is missing here: write name: "porch""#,
        ),
        (
            "name: \"porch\" ttl: 1",
            "1:27: a comma is missing before this",
        ),
        (
            "name: \"porch\"]",
            "1:26: this ] does not close the bracket that is open",
        ),
        (
            "group: 224.3.29.71:10000",
            r#"1:20: this is not RON: expected float ("group" takes a text in quotes)"#,
        ),
    ];
    for (stream, want) in table {
        assert_eq!(
            answer(&format!("(streams: [({stream})])")),
            format!("porch.ron:{want}"),
            "for {stream}"
        );
    }
}

#[test]
fn mistakes_in_a_file_are_answered_exactly() {
    let key = |found: &str, hint: &str| {
        format!("unknown key \"{found}\" in a stream; {hint} allowed: {STREAM_KEYS}")
    };
    let list =
        r#"write a list of streams: [(name: "porch"), (name: "yard", group: "224.3.29.72:10000")]"#;
    let open = r#"an opening ( is missing here: a config looks like (streams: [(name: "porch")])"#;
    let table: Vec<(&str, String)> = vec![
        ("(streams: [(\n        pining: 3)])", "2:9: ".to_owned() + &key("pining", "did you mean \"pin\"?")),
        ("(streams: [(device: \"x\")])", "1:13: ".to_owned() + &key("device", "it belongs to a camera: source: Camera(device: ...);")),
        ("(name: \"x\")", r#"1:2: unknown key "name" in the config; it belongs to a stream: streams: [(name: ...)]; allowed: streams, status"#.to_owned()),
        ("(streams: [(source: Kamera())])", format!("1:21: \"source\" cannot be Kamera; did you mean Camera? Write {SOURCES}")),
        ("(streams: [(source: \"/dev/video0\")])", format!("1:21: \"source\" cannot be \"/dev/video0\": write {SOURCES}")),
        ("(streams: [])", format!("1:11: \"streams\" cannot be []: without a stream there is nothing to send; {list}")),
        ("(streams: (name: \"a\"))", format!("1:11: \"streams\" cannot be (name: \"a\"): {list}")),
        ("", format!("1:1: {open}")),
        ("{\"streams\": []}", format!("1:1: {open}")),
        ("(streams: [(name: \"porch)])", "1:20: the text that begins here has no closing quote".to_owned()),
        ("(streams: [(name: \"porch\"", "1:26: the file ends in the middle: a closing bracket is missing".to_owned()),
        ("() x", "1:4: the config ends before this: remove what follows".to_owned()),
        ("(status: On(listen: \"8080\"))", "1:21: \"listen\" cannot be \"8080\": it is no address and port; write \"ADDRESS:PORT\", for example \"127.0.0.1:8080\"".to_owned()),
        // Two streams.
        ("(streams: [(name: \"a\"), (name: \"b\", source: Stdin)])", r#"1:25: streams "a" and "b" send to the same group and port, 224.3.29.71:10000: give each its own "group""#.to_owned()),
        ("(streams: [(source: Stdin), (source: Stdin, group: \"224.3.29.72:10000\")])", "1:29: two streams are called \"lancam\": give each its own \"name\"\nporch.ron:1:38: streams \"lancam\" and \"lancam\" have the same source, -, which can be read only once".to_owned()),
        ("(streams: [(name: \"a\"), (name: \"b\", source: Stdin, group: \"224.3.29.71:10004\")])", r#"1:59: streams "a" and "b" both need port 10004 of 224.3.29.71, as each uses the port above its own for RTCP and the fourth above for repair: take ports 10 apart"#.to_owned()),
        ("(streams: [(name: \"a\", sdp: \"x.sdp\"), (name: \"b\", sdp: \"x.sdp\", source: Stdin, group: \"224.3.29.72:10000\")])", r#"1:56: streams "a" and "b" write the same SDP file: give each its own "sdp""#.to_owned()),
    ];
    for (text, want) in table {
        assert_eq!(answer(text), format!("porch.ron:{want}"), "for {text}");
    }
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = "(streams: [(ttl: -1, quality: 0), (nmae: \"b\")])";
    let Err(ConfigError::Mistakes(mistakes)) = parse("x", text) else {
        panic!("no mistakes");
    };
    let places: Vec<_> = mistakes.iter().map(|m| (m.line, m.column)).collect();
    assert_eq!(places, [(1, 18), (1, 31), (1, 36)]);
}

#[test]
fn all_that_can_be_written_is_read() {
    let config = built(
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
            status: On(listen: "0.0.0.0:80", token: "correct-horse"),
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
        fps: None,
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
    };
    assert_eq!(config.streams, [want]);
    let want = Status::On {
        listen: "0.0.0.0:80".parse().unwrap(),
        token: Some("correct-horse".to_owned()),
    };
    assert_eq!(config.status, want);
    assert_eq!(not_yet(&config), NOT_YET);
}

#[test]
fn the_frame_rate_reaches_the_camera() {
    let config = built("(streams: [(source: Camera(), fps: 15)])");
    let SourceSpec::Camera(camera) = &config.streams[0].source else {
        panic!("no camera");
    };
    assert_eq!(camera.fps, Some(15.0));
}

#[test]
fn an_empty_config_is_the_default_one() {
    assert_eq!(parse("x", "()").unwrap(), Config::default());
    assert_eq!(
        parse("x", "\u{feff}(streams: [()])").unwrap(),
        Config::default()
    );
    assert!(not_yet(&Config::default()).is_empty());
}

#[test]
fn the_commented_config_shows_every_key_with_its_default() {
    let path = repository("config/lancam.ron");
    assert_eq!(load(&path).unwrap(), Config::default());

    let text = std::fs::read_to_string(path).unwrap();
    let with_unknown_key = [
        "(zz: 0)",
        "(streams: [(zz: 0)])",
        "(streams: [(source: Camera(zz: 0))])",
        "(streams: [(repair: Auto(zz: 0))])",
        "(streams: [(adapt: FrameRate(zz: 0))])",
        "(streams: [(wait_for_viewers: (zz: 0))])",
        "(status: On(zz: 0))",
    ];
    let mut keys = 0;
    for config in with_unknown_key {
        let answer = answer(config);
        let (_, allowed) = answer.split_once("allowed: ").unwrap();
        for key in allowed.split(", ") {
            assert!(
                text.contains(&format!("{key}: ")) || text.contains(&format!("{key}   ")),
                "{key}"
            );
            keys += 1;
        }
    }
    assert_eq!(keys, 2 + 23 + 6 + 1 + 1 + 2 + 2);
}

#[test]
fn the_examples_can_be_used() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(repository("config/examples")).unwrap() {
        let path = entry.unwrap().path();
        let config = load(&path).unwrap_or_else(|e| panic!("{e}"));
        assert!(!describe(&config).is_empty());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    let want = [
        "100mbit.ron",
        "file-loop.ron",
        "ipv6.ron",
        "two-cameras.ron",
        "wifi.ron",
    ];
    assert_eq!(names, want);
}

#[test]
fn a_config_is_told_in_plain_words() {
    let text = "(streams: [(name: \"porch\", source: File(\"clip.avi\"), loop: true, fps: 25,
        group: \"10.0.0.7:5004\", interface: \"eth0\", ttl: 3, pacing: Spread(0.5), pin: 3)])";
    assert_eq!(
        describe(&parse("x", text).unwrap()),
        "\
stream \"porch\"
  sends      the file clip.avi at 25 frames a second, again and again
  to         10.0.0.7:5004 (one host only, as this is no multicast address), by interface eth0
  packets    as large as the interface carries, DSCP 34, TTL 3: across up to 2 routers
  pacing     each frame over 50 % of the frame interval
  losses     no repair packets, nothing is sent again
  thread     on core 3, normal priority
  announced  no, as it goes to one host only
status page: off
"
    );
}

#[test]
fn files_that_are_no_config() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.ron");
    assert_eq!(
        load(&missing).unwrap_err().to_string(),
        format!(
            "cannot read the config {}: No such file or directory (os error 2)",
            missing.display()
        )
    );
    assert!(matches!(
        load(dir.path()),
        Err(ConfigError::Unreadable { .. })
    ));

    let large = dir.path().join("large.ron");
    std::fs::write(&large, vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(matches!(load(&large), Err(ConfigError::TooLarge(_))));

    let binary = dir.path().join("binary.ron");
    std::fs::write(&binary, [0xff, 0xd8, 0xff]).unwrap();
    assert!(matches!(load(&binary), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn deep_nesting_is_refused() {
    for open in ["(", "[", "{", "Some(", "(streams: [(name: ", "/*"] {
        let text = format!("(streams: {}", open.repeat(50_000));
        assert!(parse("x", &text).is_err());
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
    match parse("x", text) {
        Ok(config) => assert!(!describe(&config).is_empty()),
        Err(ConfigError::Mistakes(mistakes)) => {
            assert!(!mistakes.is_empty());
            let lines = 1 + text.matches('\n').count();
            for m in mistakes {
                assert!((1..=lines).contains(&m.line), "{m} in {text}");
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
