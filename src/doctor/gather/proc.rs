//! /proc and /sys: sockets and their owners, settings, bridges. The parsers are pure.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::findings::{Bridge, PortUser, RpFilter};

/// Searching all processes may take this long.
const SEARCH: Duration = Duration::from_secs(1);

/// A line of /proc/net/udp.
#[derive(Clone, Debug, PartialEq, Eq)]
struct UdpSocket {
    local: SocketAddr,
    inode: u64,
    drops: u64,
}

/// All UDP sockets of this network namespace.
fn udp_sockets() -> Vec<UdpSocket> {
    ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|text| parse_udp(&text))
        .collect()
}

/// `sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode ref pointer drops`:
/// addresses are 32-bit words in this machine's byte order, in hexadecimal; the port is a plain
/// number.
fn parse_udp(text: &str) -> Vec<UdpSocket> {
    let socket = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (ip, port) = words.get(1)?.split_once(':')?;
        Some(UdpSocket {
            local: SocketAddr::new(parse_ip(ip)?, u16::from_str_radix(port, 16).ok()?),
            inode: words.get(9)?.parse().ok()?,
            drops: words.get(12)?.parse().ok()?,
        })
    };
    text.lines().filter_map(socket).collect()
}

fn parse_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = hex.get(at..at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (place, at) in bytes.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                place.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// Sockets on the port that receive `group`, or are in its way.
pub(super) fn port_users(group: SocketAddr) -> Vec<PortUser> {
    let sockets = udp_sockets();
    let on_port = sockets.iter().filter(|s| is_in_the_way(s.local, group));
    let on_port: Vec<_> = on_port.collect();
    let names = holders(&on_port.iter().map(|s| s.inode).collect::<Vec<_>>());
    let mut users: Vec<_> = on_port
        .iter()
        .zip(names)
        .map(|(socket, process)| PortUser {
            address: socket.local,
            process,
        })
        .collect();
    users.dedup();
    users
}

/// The same port, and the same address or the wildcard. `[::]` takes IPv4 too.
fn is_in_the_way(local: SocketAddr, group: SocketAddr) -> bool {
    local.port() == group.port() && (local.ip() == group.ip() || local.ip().is_unspecified())
}

/// Name and number of the processes that hold these sockets, as far as this user may see.
fn holders(inodes: &[u64]) -> Vec<Option<(String, u32)>> {
    let mut found = vec![None; inodes.len()];
    if inodes.is_empty() {
        return found;
    }
    let deadline = Instant::now() + SEARCH;
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        if Instant::now() > deadline {
            break;
        }
        for fd in fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let Some(inode) = fs::read_link(fd.path()).ok().and_then(|l| socket_inode(&l)) else {
                continue;
            };
            for (wanted, place) in inodes.iter().zip(&mut found) {
                if *wanted == inode {
                    place.get_or_insert_with(|| (name(&process.path()), pid));
                }
            }
        }
    }
    found
}

/// `socket:[4711]`.
fn socket_inode(link: &Path) -> Option<u64> {
    let text = link.to_str()?.strip_prefix("socket:[")?;
    text.strip_suffix(']')?.parse().ok()
}

fn name(process: &Path) -> String {
    let name = fs::read(process.join("comm")).unwrap_or_default();
    String::from_utf8_lossy(&name).trim_end().to_owned()
}

/// Packets dropped because the buffer of the socket with this inode was full.
pub(super) fn overflowed(inode: u64) -> u64 {
    let mine = udp_sockets().into_iter().find(|s| s.inode == inode);
    mine.map_or(0, |s| s.drops)
}

/// The setting for all and for this interface; `None`: /proc does not have it.
pub(super) fn rp_filter(interface: &str) -> Option<RpFilter> {
    Some(RpFilter {
        all: ipv4_setting("all", "rp_filter")?,
        interface: ipv4_setting(interface, "rp_filter")?,
    })
}

fn ipv4_setting(interface: &str, name: &str) -> Option<u8> {
    setting(&format!("/proc/sys/net/ipv4/conf/{interface}/{name}"))
}

fn setting(path: &str) -> Option<u8> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether the old iptables has tables: netfilter lists their names there.
pub(super) fn has_legacy_iptables() -> bool {
    let names = [
        "/proc/thread-self/net/ip_tables_names",
        "/proc/thread-self/net/ip6_tables_names",
    ];
    let is_used = |path| fs::read_to_string(path).is_ok_and(|text| !text.trim().is_empty());
    names.into_iter().any(is_used)
}

/// The IGMP version that the kernel uses on the interface because of an older querier; `None`: the
/// newest, or one set by hand.
pub(super) fn old_querier(interface: &str) -> Option<u8> {
    let forced = |of| ipv4_setting(of, "force_igmp_version").unwrap_or(0) != 0;
    if forced("all") || forced(interface) {
        return None;
    }
    let text = fs::read_to_string("/proc/thread-self/net/igmp").ok()?;
    igmp_version(&text, interface).filter(|&version| version < 3)
}

/// `2 eth0 : 1 V3`: /proc/net/igmp, the column "Querier".
fn igmp_version(text: &str, interface: &str) -> Option<u8> {
    let line = text.lines().find(|line| {
        let name = line.split_whitespace().nth(1).unwrap_or("");
        !line.starts_with(char::is_whitespace) && name.trim_end_matches(':') == interface
    })?;
    let version = line.split_whitespace().last()?;
    version.strip_prefix('V')?.parse().ok()
}

/// The bridge that `interface` is or is a port of.
pub(super) fn bridge(interface: &str) -> Option<Bridge> {
    bridge_in(Path::new("/sys/class/net"), interface)
}

fn bridge_in(net: &Path, interface: &str) -> Option<Bridge> {
    let itself = net.join(interface);
    let (name, folder) = match itself.join("bridge").is_dir() {
        true => (interface.to_owned(), itself.join("bridge")),
        false => {
            let master = fs::canonicalize(itself.join("master")).ok()?;
            let name = master.file_name()?.to_str()?.to_owned();
            (name, master.join("bridge"))
        }
    };
    let is_on = |file| {
        let text = fs::read_to_string(folder.join(file)).ok()?;
        Some(text.trim() == "1")
    };
    Some(Bridge {
        name,
        snoops: is_on("multicast_snooping")?,
        queries: is_on("multicast_querier")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn udp_sockets_as_the_kernel_lists_them() {
        let text = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            12345: 471D03E0:2710 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 4711 2 00000000deadbeef 17\n\
            12346: 00000000:2710 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 00000000deadbeef 0\n\
            nonsense\n";
        let sockets = parse_udp(text);
        assert_eq!(
            sockets,
            [
                UdpSocket {
                    local: "224.3.29.71:10000".parse().unwrap(),
                    inode: 4711,
                    drops: 17,
                },
                UdpSocket {
                    local: "0.0.0.0:10000".parse().unwrap(),
                    inode: 4712,
                    drops: 0,
                },
            ]
        );
        let v6 = " 1: 00000000000000000000000001000000:2710 00000000000000000000000000000000:0000 07 0:0 0:0 0 0 0 9 2 0 0\n";
        assert_eq!(parse_udp(v6)[0].local, "[::1]:10000".parse().unwrap());
    }

    #[test]
    fn who_stands_in_the_way() {
        let group = "224.3.29.71:10000".parse().unwrap();
        let on = |local: &str| is_in_the_way(local.parse().unwrap(), group);
        assert!(on("224.3.29.71:10000") && on("0.0.0.0:10000") && on("[::]:10000"));
        assert!(!on("224.3.29.72:10000") && !on("0.0.0.0:10001"));
    }

    #[test]
    fn a_socket_of_this_process_is_found_by_name() {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let users = port_users(SocketAddr::new("224.3.29.71".parse().unwrap(), port));
        assert_eq!(users.len(), 1, "{users:?}");
        assert_eq!(users[0].process.as_ref().unwrap().1, std::process::id());
    }

    #[test]
    fn the_version_of_the_querier() {
        let text = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
            1\tlo        :     1      V3\n\
            \t\t\t\t010000E0     1 0:00000000\t\t0\n\
            4\twire0     :     2      V2\n";
        assert_eq!(igmp_version(text, "wire0"), Some(2));
        assert_eq!(igmp_version(text, "lo"), Some(3));
        assert_eq!(igmp_version(text, "eth0"), None);
    }

    #[test]
    fn a_bridge_and_its_port() {
        let net = tempfile::tempdir().unwrap();
        let bridge = net.path().join("br0/bridge");
        fs::create_dir_all(&bridge).unwrap();
        fs::create_dir_all(net.path().join("eth0")).unwrap();
        fs::write(bridge.join("multicast_snooping"), "1\n").unwrap();
        fs::write(bridge.join("multicast_querier"), "0\n").unwrap();
        assert_eq!(bridge_in(net.path(), "eth0"), None);
        std::os::unix::fs::symlink(net.path().join("br0"), net.path().join("eth0/master")).unwrap();
        let wanted = Some(Bridge {
            name: "br0".to_owned(),
            snoops: true,
            queries: false,
        });
        assert_eq!(bridge_in(net.path(), "eth0"), wanted);
        assert_eq!(bridge_in(net.path(), "br0"), wanted);
    }

    proptest::proptest! {
        #[test]
        fn anything_is_parsed_without_a_panic(text in "[ \t\n0-9a-fA-F:Vé]{0,200}") {
            parse_udp(&text);
            igmp_version(&text, "eth0");
        }
    }
}
