//! `/metrics`: the same counters for Prometheus. The format is OpenMetrics 1.0 if the request
//! accepts it, as Prometheus does, otherwise the older text format 0.0.4, which every tool reads.
//! The two differ in where a counter's `_total` is written.

use std::fmt::Write;

use crate::board::{Contents, Role, RtspSnapshot, VisitorSnapshot};
use crate::counters::{Field, Kind, Unit};
use crate::stats::report::Totals;

/// The text's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    OpenMetrics,
    Text,
}

impl Form {
    pub(super) fn of(accepts_open_metrics: bool) -> Form {
        match accepts_open_metrics {
            true => Form::OpenMetrics,
            false => Form::Text,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Form::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All metrics from the board.
pub(super) fn write(
    contents: &Contents,
    role: Role,
    (visitors, rtsp): (&VisitorSnapshot, &RtspSnapshot),
    form: Form,
) -> String {
    let mut families = Families::default();
    let version = env!("CARGO_PKG_VERSION");
    let role = match role {
        Role::Sender => "sender",
        Role::Viewer => "viewer",
    };
    let build = [("version", version), ("role", role)];
    families.gauge("build_info", "What runs here.", &build, 1.0);
    let uptime = contents.report.uptime_s;
    families.gauge("uptime_seconds", "Time since the start.", &[], uptime);
    for (report, scene) in contents.report.streams.iter().zip(&contents.scenes) {
        let stream = [("stream", report.name.as_str())];
        let healthy = f64::from(u8::from(scene.health.is_ok()));
        let help = "1 while frames go out, or come in.";
        families.gauge("stream_healthy", help, &stream, healthy);
        families.totals(&report.totals, &report.name);
    }
    families.fields("http_", visitors.fields(), &[]);
    families.fields("rtsp_", rtsp.fields(), &[]);
    families.write(form)
}

/// The samples grouped by name, as both formats require.
#[derive(Default)]
struct Families(Vec<Family>);

struct Family {
    name: String,
    help: String,
    kind: &'static str,
    samples: Vec<(String, f64)>,
}

impl Families {
    fn totals(&mut self, totals: &Totals, stream: &str) {
        let label = [("stream", stream)];
        match totals {
            Totals::Sender {
                sent,
                gate,
                watching,
            } => {
                self.fields("", sent.fields(), &label);
                self.fields("gate_", gate.fields(), &label);
                let worst = watching.iter().map(|v| f64::from(v.fraction_lost));
                if let Some(worst) = worst.reduce(f64::max) {
                    let help = "Share of packets that the worst-off viewer lost, before repair.";
                    self.gauge("viewers_worst_loss_ratio", help, &label, worst);
                }
            }
            Totals::Viewer { received, delay_ms } => {
                self.fields("", received.fields(), &label);
                let Some(delay) = delay_ms else { return };
                for (quantile, ms) in [("0.5", delay.p50), ("0.99", delay.p99), ("1", delay.max)] {
                    let labels = [("stream", stream), ("quantile", quantile)];
                    let help = "Capture to screen; headless: to the whole frame.";
                    self.add("delay_seconds", help, "summary", &labels, ms * 1e-3);
                }
            }
        }
    }

    /// The metrics that `counters!` defines, in Prometheus' base units: a name ends with its unit.
    fn fields(&mut self, prefix: &str, fields: Vec<Field>, labels: &[(&str, &str)]) {
        for field in fields {
            let (unit, suffix, scale) = match field.unit {
                None => ("", "", 1.0),
                Some(Unit::Bytes) => ("bytes", "_bytes", 1.0),
                Some(Unit::Permille) => ("permille", "_ratio", 1e-3),
            };
            let words = field.name.split('_').filter(|word| *word != unit);
            let name = words.collect::<Vec<_>>().join("_");
            let kind = match field.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            let value = field.value as f64 * scale;
            self.add(
                &format!("{prefix}{name}{suffix}"),
                field.help,
                kind,
                labels,
                value,
            );
        }
    }

    fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(name, help, "gauge", labels, value);
    }

    fn add(
        &mut self,
        name: &str,
        help: &str,
        kind: &'static str,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let name = format!("lancam_{name}");
        let place = self.0.iter().position(|family| family.name == name);
        let place = place.unwrap_or_else(|| {
            self.0.push(Family {
                name,
                help: help.to_owned(),
                kind,
                samples: Vec::new(),
            });
            self.0.len() - 1
        });
        self.0[place].samples.push((braced(labels), value));
    }

    fn write(&self, form: Form) -> String {
        let mut out = String::new();
        for family in &self.0 {
            let suffix = if family.kind == "counter" {
                "_total"
            } else {
                ""
            };
            let sample = format!("{}{suffix}", family.name);
            let name = match form {
                Form::OpenMetrics => &family.name,
                Form::Text => &sample,
            };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP {name} {}", escaped(&family.help));
            let _ = writeln!(out, "# TYPE {name} {}", family.kind);
            if let (Form::OpenMetrics, Some(unit)) = (form, family.unit()) {
                let _ = writeln!(out, "# UNIT {name} {unit}");
            }
            for (labels, value) in &family.samples {
                let _ = writeln!(out, "{sample}{labels} {value}");
            }
        }
        // A comment in the older format.
        out + "# EOF\n"
    }
}

impl Family {
    fn unit(&self) -> Option<&'static str> {
        let units = ["bytes", "ratio", "seconds"];
        let has = |unit: &&str| self.name.ends_with(&format!("_{unit}"));
        units.into_iter().find(|unit| has(unit))
    }
}

fn braced(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

/// Text between quotes, in both formats.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
