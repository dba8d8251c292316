use std::time::Duration;

use clap::CommandFactory;

use super::*;
use crate::config::{Config, Pacing, Repair, SETTINGS, Stream};
use crate::doctor::DoctorPlan;
use crate::send::SendPlan;
use crate::source::{CameraSpec, SourceSpec};
use crate::stats::StatsTo;
use crate::view::{OnLoss, Record, Target, ViewPlan};

fn parse(line: &str) -> Result<Command, String> {
    let words = line.split_whitespace();
    match Cli::try_parse_from(std::iter::once("lancam").chain(words)) {
        Ok(cli) => Ok(cli.command),
        Err(e) => {
            assert_eq!(e.exit_code(), 2, "{line}");
            Err(e.to_string())
        }
    }
}

#[track_caller]
fn send(line: &str) -> Result<SendPlan, UsageError> {
    match parse(&format!("send {line}")) {
        Ok(Command::Send(args)) => args.resolve(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn stream(line: &str) -> Stream {
    send(line).unwrap().config.streams.remove(0)
}

#[track_caller]
fn view(line: &str) -> Result<ViewPlan, UsageError> {
    match parse(&format!("view {line}")) {
        Ok(Command::View(args)) => args.resolve(),
        other => panic!("{other:?}"),
    }
}

/// The refusal, which is clap's or ours.
#[track_caller]
fn refused(line: &str) -> String {
    match parse(line) {
        Err(e) => e,
        Ok(Command::Send(args)) => args.resolve().err().unwrap().to_string(),
        Ok(Command::View(args)) => args.resolve().unwrap_err().to_string(),
        Ok(Command::Doctor(args)) => args.resolve().unwrap_err().to_string(),
        Ok(other) => panic!("{other:?}"),
    }
}

#[test]
fn the_definition_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn help_fits_a_terminal() {
    let mut cli = Cli::command().term_width(80);
    cli.build();
    for command in cli.get_subcommands_mut() {
        let help = command.render_long_help().to_string();
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
        }
    }
    let top = cli.render_help().to_string();
    assert!(top.lines().all(|line| line.chars().count() <= 80), "{top}");
}

/// The row of each setting, as it must stand in help and man page; a setting without a flag has
/// none.
#[test]
fn help_and_man_page_are_true_to_the_settings() {
    let mut cli = Cli::command();
    cli.build();
    let send = cli.find_subcommand_mut("send").unwrap();
    let mut page = Vec::new();
    clap_mangen::Man::new(send.clone())
        .render(&mut page)
        .unwrap();
    let mut page = String::from_utf8(page).unwrap();
    for (roff, text) in [
        ("\\-", "-"),
        ("\\*(Aq", "'"),
        ("\\fB", ""),
        ("\\fI", ""),
        ("\\fR", ""),
    ] {
        page = page.replace(roff, text);
    }
    for paper in [send.render_long_help().to_string(), page] {
        let paper = paper.split_whitespace().collect::<Vec<_>>().join(" ");
        for setting in SETTINGS {
            let flag = format!("--{} ", setting.key.replace('_', "-"));
            let words = setting.words;
            let (default, limits) = ((setting.default)(), (setting.limits)());
            let Some(value) = setting.flag else {
                assert!(!paper.contains(&flag), "{flag}: {paper}");
                continue;
            };
            let row = match (value, limits.as_str(), default.as_str()) {
                ("", ..) => format!("{flag}{words}"),
                (_, "", "none") => format!("{flag}<{value}> {words}"),
                (_, _, "none") => format!("{flag}<{value}> {words} ({limits})"),
                (_, "", _) => format!("{flag}<{value}> {words} [default: {default}]"),
                _ => format!("{flag}<{value}> {words} ({limits}) [default: {default}]"),
            };
            assert!(paper.contains(&row), "{row}: {paper}");
        }
    }
}

#[test]
fn without_arguments_the_defaults_hold() {
    assert_eq!(send("").unwrap().config, Config::default());
    if cfg!(feature = "view") {
        assert_eq!(view("").unwrap(), ViewPlan::default());
    }
    assert!(view("--headless").unwrap().headless);
}

#[test]
fn flags_say_what_the_stream_is() {
    let got = stream(
        "--source clip.avi --name porch --group [ff15::1]:5004 --interface eth0 --ttl 4 --dscp 0 \
         --mtu 1400 --fps 12.5 --loop --resize 640x360 --quality 70 --pacing 0.5 --pin 3 \
         --realtime 10 --lock-memory --sdp porch.sdp",
    );
    let want = Stream {
        name: "porch".to_owned(),
        source: SourceSpec::File {
            path: "clip.avi".into(),
        },
        group: "[ff15::1]:5004".parse().unwrap(),
        group_chosen: true,
        interface: Some("eth0".to_owned()),
        ttl: 4,
        dscp: 0,
        mtu: Some(1400),
        fps: Some(12.5),
        looped: true,
        resize: Some((640, 360)),
        quality: 70,
        pacing: Pacing::Spread(0.5),
        pin: Some(3),
        realtime: Some(10),
        lock_memory: true,
        sdp: Some("porch.sdp".into()),
        ..Stream::default()
    };
    assert_eq!(got, want);
    assert_eq!(stream("--source -").source, SourceSpec::Stdin);
    assert_eq!(stream("--pacing off").pacing, Pacing::Off);
    assert_eq!(stream("--repair off").repair, Repair::Off);
}

#[test]
fn the_rate_reaches_the_camera() {
    let want = SourceSpec::Camera(CameraSpec {
        fps: Some(15.0),
        ..CameraSpec::new("/dev/video0")
    });
    assert_eq!(stream("--source /dev/video0 --fps 15").source, want);
}

#[test]
fn flags_override_a_config_of_one_stream() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("one.ron");
    std::fs::write(&file, "(streams: [(name: \"porch\", ttl: 3, dscp: 10)])").unwrap();
    let got = stream(&format!("--config {} --ttl 5", file.display()));
    assert_eq!((got.name.as_str(), got.ttl, got.dscp), ("porch", 5, 10));
}

#[test]
fn a_flag_for_one_of_several_streams_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("two.ron");
    let text = "(streams: [(name: \"porch\"), (name: \"yard\", source: Stdin, group: \"224.3.29.72:10000\")])";
    std::fs::write(&file, text).unwrap();
    let file = file.display();
    assert_eq!(
        refused(&format!("send --config {file} --ttl 5")),
        format!(
            "{file}:1:11: --ttl is for a single stream, but this file has 2; set \"ttl\" in the file"
        )
    );
    let plan = send(&format!("--config {file} --stats -")).unwrap();
    assert_eq!(plan.config.streams.len(), 2);
    assert_eq!(plan.stats, Some(StatsTo::Stdout));
}

#[test]
fn a_wrong_config_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.ron");
    std::fs::write(&file, "(streams: [(ttl: 999)])").unwrap();
    let file = file.display();
    let want = format!("{file}:1:18: \"ttl\" cannot be 999: expected a whole number from 0 to 255");
    // A flag for the same key does not hide it.
    for flags in ["", " --ttl 5"] {
        assert_eq!(refused(&format!("send --config {file}{flags}")), want);
    }
}

#[test]
fn a_rate_on_the_command_line_wins_over_the_cameras_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("one.ron");
    std::fs::write(&file, "(streams: [(source: Camera(fps: 15))])").unwrap();
    let SourceSpec::Camera(camera) =
        stream(&format!("--config {} --fps 20", file.display())).source
    else {
        panic!("no camera");
    };
    assert_eq!(camera.fps, Some(20.0));
}

/// What is said, exactly; of clap's own sentences, which end in a hint, the beginning.
#[test]
fn mistakes_are_said() {
    let table = [
        // Flags that are keys of the config.
        (
            "send --name=",
            "--name <NAME>': expected 1 to 64 characters",
        ),
        (
            "send --group 224.3.29.71",
            "--group <ADDR:PORT>': the port is missing; write 224.3.29.71:10000",
        ),
        (
            "send --group ff15::1",
            "--group <ADDR:PORT>': the port is missing; write [ff15::1]:10000",
        ),
        (
            "send --group porch",
            "--group <ADDR:PORT>': expected ADDRESS:PORT, such as 224.3.29.71:10000",
        ),
        (
            "send --group 224.3.29.71:65535",
            "--group <ADDR:PORT>': the port must be from 1 to 65531: RTCP uses the next one, repair the fourth after it",
        ),
        (
            "send --group 0.0.0.0:5000",
            "--group <ADDR:PORT>': nothing can be sent there; give a group or one machine's address",
        ),
        (
            "send --group 255.255.255.255:5000",
            "--group <ADDR:PORT>': this is the broadcast address; give a multicast group",
        ),
        (
            "send --interface a-very-long-name",
            "--interface <IFACE>': an interface's name has at most 15 bytes",
        ),
        (
            "send --interface a/b",
            "--interface <IFACE>': expected an interface's name or address, such as eth0",
        ),
        (
            "send --ttl 256",
            "invalid value '256' for '--ttl <N>': expected a whole number from 0 to 255",
        ),
        (
            "send --ttl -1",
            "invalid value '-1' for '--ttl <N>': expected a whole number from 0 to 255",
        ),
        (
            "send --ttl one",
            "invalid value 'one' for '--ttl <N>': expected a whole number from 0 to 255",
        ),
        (
            "send --ttl 1.5",
            "invalid value '1.5' for '--ttl <N>': expected a whole number from 0 to 255",
        ),
        (
            "send --ttl=",
            "invalid value '' for '--ttl <N>': expected a whole number from 0 to 255",
        ),
        (
            "send --mtu 0x600",
            "invalid value '0x600' for '--mtu <BYTES>': expected a whole number from 576 to 65535",
        ),
        (
            "send --fps fast",
            "invalid value 'fast' for '--fps <RATE>': expected a number from 0.1 to 240",
        ),
        (
            "send --pacing NaN",
            "--pacing <auto|off|SHARE>': expected auto, off or a number above 0 and at most 0.8",
        ),
        (
            "send --pacing Auto",
            "--pacing <auto|off|SHARE>': expected auto, off or a number above 0 and at most 0.8",
        ),
        (
            "send --repair 20%",
            "--repair <off|auto|SHARE>': expected off, auto or a number above 0 and at most 1",
        ),
        (
            "send --resize 640",
            "--resize <WxH>': expected WIDTHxHEIGHT, each from 16 to 8192",
        ),
        (
            "send --resize 640x",
            "--resize <WxH>': expected WIDTHxHEIGHT, each from 16 to 8192",
        ),
        (
            "send --resize ax360",
            "--resize <WxH>': expected WIDTHxHEIGHT, each from 16 to 8192",
        ),
        ("send --sdp=", "--sdp <FILE>': the path is empty"),
        ("send --source=", "--source <SRC>': the source is empty"),
        (
            "send --source pattern:8x8",
            "a pattern of 8x8 is out of range: expected 16 to 8192 pixels a side",
        ),
        (
            "send --group [ff15::1]:5004 --mtu 1000",
            "--mtu cannot be 1000: the group is IPv6, which needs 1280 or more",
        ),
        // Other flags.
        (
            "send --status 8080",
            "--status <ADDR:PORT>': expected ADDRESS:PORT, such as 127.0.0.1:8080",
        ),
        (
            "view --status-token short",
            "--status-token <TOKEN>': expected 8 to 256 printable ASCII characters without spaces",
        ),
        (
            "send --stats=",
            "--stats <FILE|->': expected a file, or - for standard output",
        ),
        (
            "send --config /nowhere/x.ron",
            "cannot read the config /nowhere/x.ron: No such file or directory",
        ),
        (
            "send --config",
            "a value is required for '--config <FILE>' but none was supplied",
        ),
        (
            "send --loop=yes",
            "unexpected value 'yes' for '--loop' found; no more were expected",
        ),
        ("send --pining 3", "unexpected argument '--pining' found"),
        ("send porch", "unexpected argument 'porch' found"),
        (
            "send --ttl 1 --ttl 2",
            "the argument '--ttl <N>' cannot be used multiple times",
        ),
        (
            "view 224.3.29.71",
            "cannot watch \"224.3.29.71\": the port is missing; write 224.3.29.71:10000",
        ),
        (
            "view 224.3.29.71:99999",
            "cannot watch \"224.3.29.71:99999\": \"99999\" is not a port; write 224.3.29.71:10000",
        ),
        (
            "view a\u{1b}b",
            "cannot watch \"a\u{fffd}b\": it contains the invisible character U+001B",
        ),
        (
            "view a --group 224.3.29.71:5000",
            "the argument '[NAME|ADDR:PORT|FILE.sdp]' cannot be used with '--group <ADDR:PORT>'",
        ),
        (
            "view --headless --record clip.mp4",
            "--record <FILE>': expected a name ending in .avi or .mjpeg, or - for standard output",
        ),
        (
            "view --headless --snapshot a.png",
            "--snapshot <FILE>': expected a name ending in .jpg",
        ),
        (
            "view --headless --frames 0",
            "--frames <N>': expected a whole number from 1 to 4294967295",
        ),
        (
            "view --headless --frames many",
            "--frames <N>': expected a whole number from 1 to 4294967295",
        ),
        (
            "view --headless --late 4",
            "--late <FRAMES>': expected a whole number from 1 to 3",
        ),
        (
            "view --headless --late 0.5",
            "--late <FRAMES>': expected a whole number from 1 to 3",
        ),
        (
            "view --scale 0",
            "--scale <FACTOR>': expected a number from 0.1 to 8",
        ),
        (
            "view --scale inf",
            "--scale <FACTOR>': expected a number from 0.1 to 8",
        ),
        (
            "view --headless --fullscreen",
            "--fullscreen is for a window, but --headless shows none; drop one of them",
        ),
        (
            "view /dev/video0",
            "\"/dev/video0\" is a file, not a stream; to send it: lancam send --source '/dev/video0'",
        ),
        ("view --headless --overlay", "--overlay is for a window"),
        ("view --headless --decoders 1", "--decoders is for a window"),
        (
            "view --decoders 4",
            "--decoders <N>': expected a whole number from 0 to 3",
        ),
        (
            "view --headless --scale 2",
            "--scale is for a window, but --headless shows none; drop one of them",
        ),
        (
            "view --headless --record - --stats -",
            "--record - and --stats - both write to standard output; give one of them a file",
        ),
        (
            "view --headless --on-loss green",
            "invalid value 'green' for '--on-loss <hold|conceal>'",
        ),
        (
            "list --timeout 0",
            "--timeout <SECONDS>': expected a number from 0.1 to 3600",
        ),
        (
            "list --timeout soon",
            "--timeout <SECONDS>': expected a number from 0.1 to 3600",
        ),
        (
            "doctor 224.3.29.71",
            "cannot watch \"224.3.29.71\": the port is missing; write 224.3.29.71:10000",
        ),
        (
            "doctor --wait 0",
            "--wait <SECONDS>': expected a whole number from 1 to 3600",
        ),
        (
            "doctor --wait 3601",
            "--wait <SECONDS>': expected a whole number from 1 to 3600",
        ),
        (
            "demo --frames -3",
            "--frames <N>': expected a whole number from 1 to 4294967295",
        ),
        (
            "list --timeout -1",
            "--timeout <SECONDS>': expected a number from 0.1 to 3600",
        ),
        (
            "check",
            "the following required arguments were not provided:\n  <FILE>",
        ),
        ("check a b", "unexpected argument 'b' found"),
        ("watch", "unrecognized subcommand 'watch'"),
        ("", "A camera for your LAN"),
    ];
    let told = table.iter().filter_map(|(line, want)| {
        let told = refused(line);
        (!told.contains(want)).then_some(format!("{line}: {told}"))
    });
    assert_eq!(told.collect::<String>(), "");
    for (line, _) in table {
        let got = refused(line);
        for word in [
            "..=",
            "invalid digit",
            "invalid float",
            "os error",
            "parse",
            "struct",
        ] {
            assert!(!got.contains(word), "{line}: {got}");
        }
    }
}

#[test]
fn what_to_view() {
    let got = view("224.3.29.72:5004 --headless --interface eth0 --frames 3 --record - --snapshot a.JPG --stats s.json").unwrap();
    let want = ViewPlan {
        target: Target::Group("224.3.29.72:5004".parse().unwrap()),
        interface: Some("eth0".to_owned()),
        headless: true,
        frames: Some(3),
        record: Some(Record::Stdout),
        snapshot: Some("a.JPG".into()),
        stats: Some(StatsTo::File("s.json".into())),
        ..ViewPlan::default()
    };
    assert_eq!(got, want);
    let got = view("porch --headless").unwrap();
    assert_eq!(got.target, Target::Name("porch".to_owned()));
    let got = view("cafe --headless").unwrap();
    assert_eq!(got.target, Target::Name("cafe".to_owned()));
    let got = view("porch.sdp --headless --record a.avi").unwrap();
    assert_eq!(got.target, Target::Sdp("porch.sdp".into()));
    assert_eq!(got.record, Some(Record::Avi("a.avi".into())));
    let got = view("--headless --record a.mjpeg").unwrap();
    assert_eq!(got.record, Some(Record::Mjpeg("a.mjpeg".into())));
    assert_eq!(got.on_loss, OnLoss::Hold);
    let got = view("--headless --on-loss conceal").unwrap();
    assert_eq!(got.on_loss, OnLoss::Conceal);
}

#[test]
fn the_demo_stays_on_this_host() {
    let Ok(Command::Demo(args)) = parse("demo --headless --frames 5") else {
        panic!("no demo");
    };
    let plan = args.resolve();
    assert_eq!(plan.stream.interface.as_deref(), Some("lo"));
    assert_eq!(plan.stream.ttl, 0);
    assert_eq!(plan.view.target, Target::Group(plan.stream.group));
    assert!(plan.view.headless);
}

#[test]
fn what_to_examine() {
    let Ok(Command::Doctor(args)) = parse("doctor porch.sdp --interface eth0 --wait 130 --json")
    else {
        panic!("no doctor");
    };
    let want = DoctorPlan {
        target: Target::Sdp("porch.sdp".into()),
        interface: Some("eth0".to_owned()),
        wait: Duration::from_secs(130),
        json: true,
    };
    assert_eq!(args.resolve().unwrap(), want);
}

#[test]
fn verbosity_may_stand_anywhere() {
    for line in [["lancam", "-vv", "view"], ["lancam", "view", "-vv"]] {
        assert_eq!(Cli::try_parse_from(line).unwrap().verbose, 2);
    }
}

#[test]
fn verbosity_has_no_value() {
    for line in ["-v=3 view", "view -v=3", "-vv=3 list", "view --verbose=3"] {
        let words = std::iter::once("lancam").chain(line.split(' '));
        let error = Cli::read(words.map(Into::into)).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let why = error.to_string();
        assert!(why.contains("-v takes no value; write -v"), "{line}: {why}");
        assert!(!why.contains("-="), "{line}: {why}");
    }
}

#[test]
fn a_players_address_is_a_group_and_a_file_is_no_stream() {
    let plan = view("rtp://239.255.2.10:5000").unwrap();
    assert_eq!(
        plan.target,
        Target::Group("239.255.2.10:5000".parse().unwrap())
    );
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let why = view(file).unwrap_err().to_string();
    assert!(why.contains("is a file, not a stream"), "{why}");
}
