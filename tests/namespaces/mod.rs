//! Machines for tests: network namespaces that belong to one thread each, joined by a veth pair. They go
//! when their thread and the last socket in them go, so that nothing is ever left over.
#![allow(unreachable_pub)]

use std::io::{self, Write};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use lancam::net::interface;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, gettid};

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace with a thread that lives in it.
pub struct Machine {
    jobs: mpsc::Sender<Job>,
    thread_id: Pid,
}

impl Machine {
    /// A machine without a network; `None`, and a word on standard error, where that is not allowed.
    pub fn new() -> Option<Machine> {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            tell.send(enter_namespace().map(|()| gettid())).unwrap();
            todo.iter().for_each(|job| job());
        });
        match told.recv().unwrap() {
            Ok(thread_id) => Some(Machine { jobs, thread_id }),
            Err(error) => {
                // Not `eprintln`, which the test harness keeps to itself when a test passes.
                let _ = writeln!(
                    io::stderr(),
                    "SKIPPED: no network namespaces here ({error}); run as root"
                );
                None
            }
        }
    }

    /// Runs `f` on this machine and waits for what it returns. Sockets that it opens stay on this machine,
    /// whoever uses them.
    pub fn run<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let job = Box::new(move || drop(tell.send(f())));
        self.jobs.send(job).unwrap();
        told.recv().expect("the job panicked")
    }

    /// Runs `ip ARGS` on this machine.
    pub fn ip(&self, args: &str) {
        let args = args.to_owned();
        self.run(move || command("ip", &args));
    }

    /// Waits until an interface has its link: the kernel brings it up in the background, and drops packets
    /// until then.
    pub fn wait_for_link(&self, interface: &'static str) {
        let is_up = move || interface::find(interface).is_ok_and(|i| i.is_running);
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.run(is_up) {
            assert!(Instant::now() < deadline, "{interface} gets no link");
            thread::yield_now();
        }
    }
}

/// Two machines on one wire: `cam0` (10.77.0.1, fd77::1) and `view0` (10.77.0.2, fd77::2), no routes beyond.
pub fn two_machines() -> Option<(Machine, Machine)> {
    let (camera, viewer) = (Machine::new()?, Machine::new()?);
    for machine in [&camera, &viewer] {
        machine.ip("link set lo up");
    }
    connect(&camera, &viewer);
    Some((camera, viewer))
}

/// Lays the wire.
pub fn connect(camera: &Machine, viewer: &Machine) {
    camera.ip("link add cam0 type veth peer name view0");
    camera.ip(&format!("link set view0 netns {}", viewer.thread_id));
    for (machine, end, host) in [(camera, "cam0", 1), (viewer, "view0", 2)] {
        machine.ip(&format!("addr add 10.77.0.{host}/24 dev {end}"));
        // Without "nodad" an IPv6 address cannot be used for the second that duplicate detection takes.
        machine.ip(&format!("addr add fd77::{host}/64 dev {end} nodad"));
        machine.ip(&format!("link set {end} addrgenmode none"));
        machine.ip(&format!("link set {end} up"));
        machine.ip(&format!("addr add fe80::{host}/64 dev {end} nodad"));
    }
    camera.wait_for_link("cam0");
    viewer.wait_for_link("view0");
}

/// The calling thread in a network namespace of its own, with a /sys that shows it.
fn enter_namespace() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).map_err(|e| e.to_string())?;
    command("mount", "--make-rslave /");
    command("mount", "-t sysfs sysfs /sys");
    Ok(())
}

fn command(program: &str, args: &str) {
    let output = Command::new(program)
        .args(args.split_whitespace())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program} {args}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
