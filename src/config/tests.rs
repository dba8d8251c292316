use super::*;

fn mistakes(text: &str) -> String {
    match parse("porch.ron", text) {
        Ok(config) => format!("OK {config:?}"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn explore() {
    for t in [
        "(streams: [(\n        pining: 3)])",
        "(streams: [(ttl: 300)])",
        "(streams: [(\n ttl: \"one\",\n quality: 0, pacing: Autoo, pin: yes, resize: (1,2))])",
        "(streams: [(source: Camera(devise: \"x\"))])",
        "(streams: [(source: Kamera(device: \"x\"))])",
        "(streams: [(source: File(path: \"x\"))])",
        "(streams: [(source: \"/dev/video0\")])",
        "(streams: [(source: Pattern(\"1x1\"))])",
        "(streams: [(source: Camera(device: 3, controls: {\"gain\": 1.5}))])",
        "(streams: [(source: Camera(device: \"/dev/video0\", controls: {\"gain\": 1, \"auto\": true, \"e\": \"m\"}))])",
        "(streams: [(group: 224.3.29.71:10000)])",
        "(streams: [(group: \"224.3.29.71\")])",
        "(streams: [(name: porch)])",
        "(streams: [(name = \"porch\")])",
        "(streams: [(name: \"porch)])",
        "(streams: [(name: \"porch\" ttl: 1)])",
        "(streams: [(name: \"porch\"",
        "(streams: [(name: \"porch\"]))",
        "(streams: (name: \"porch\"))",
        "(streams: [])",
        "()",
        "",
        "5",
        "(streams: [5])",
        "(name: \"x\")",
        "(streams: [(device: \"x\")])",
        "(streams: [(ttl: 1, ttl: 2)])",
        "(streams: [(name: \"a\"), (name: \"b\")])",
        "(streams: [(name: \"a\"), (name: \"a\", group: \"224.3.29.71:10004\")])",
        "(streams: [(name: \"a\")]) x",
        "{\"streams\": []}",
        "(streams: [(repair: Auto(max: 0.5))], status: On())",
        "(streams: [(repair: Auto(min: 0.5))], status: On(listne: \"\"))",
        "(streams: [(wait_for_viewers: (count: 0))])",
        "(streams: [(pacing: Spread(0.9))])",
        "(streams: [(pacing: Spread(1))])",
        "(streams: [(fps: 1000, pin: Some(5000), mtu: 100)])",
        "(streams: [(\n  // a comment\n  ttl: /* x */ 999 // y\n)])",
        "#![enable(unwrap_newtypes)]\n(streams: [(ttl: 3)])",
    ] {
        println!("--- {t}\n{}", mistakes(t));
    }
}
