//! Who on this machine is a member of which group: `/proc/net/igmp` (IPv4) and `/proc/net/igmp6`,
//! which is what `netstat -g` shows. The parsers are pure; anything that does not look like a
//! membership is skipped.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::types::Member;

/// All memberships of this machine (of this thread's network namespace).
///
/// # Errors
/// `/proc` is missing. A kernel without IPv6 is not an error.
pub fn memberships() -> io::Result<Vec<Member>> {
    // Not /proc/net, which is the main thread's: a thread can live in a network namespace of its
    // own.
    let mut members = parse_v4(&fs::read_to_string("/proc/thread-self/net/igmp")?);
    if let Ok(text) = fs::read_to_string("/proc/thread-self/net/igmp6") {
        members.extend(parse_v6(&text));
    }
    Ok(members)
}

/// `/proc/net/igmp`: a line for each interface, `2 eth0 : 1 V3`, then one for each of its groups,
/// indented: the address as the hexadecimal of a 32-bit word in this machine's byte order, then the
/// users.
pub fn parse_v4(text: &str) -> Vec<Member> {
    let mut members = Vec::new();
    let mut interface = "";
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if !line.starts_with(char::is_whitespace) {
            interface = words.nth(1).unwrap_or("").trim_end_matches(':');
            continue;
        }
        let word = words.next().unwrap_or("");
        let (Ok(group), Some(users)) = (u32::from_str_radix(word, 16), number(words.next())) else {
            continue;
        };
        members.push(Member {
            interface: interface.to_owned(),
            group: Ipv4Addr::from(group.to_ne_bytes()).into(),
            users,
        });
    }
    members
}

/// `/proc/net/igmp6`: `4 eth0 ff02000000000000000000000000001 1 0000000C 0`: index, interface,
/// address as 32 hexadecimal digits, users, flags, timer.
pub fn parse_v6(text: &str) -> Vec<Member> {
    let member = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let interface = words.next()?.to_owned();
        let digits = words.next().filter(|d| d.len() == 32)?;
        let group = u128::from_str_radix(digits, 16).ok()?;
        Some(Member {
            interface,
            group: Ipv6Addr::from(group).into(),
            users: number(words.next())?,
        })
    };
    text.lines().filter_map(member).collect()
}

fn number(word: Option<&str>) -> Option<u32> {
    word?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::IpAddr;

    fn member(interface: &str, group: &str, users: u32) -> Member {
        Member {
            interface: interface.into(),
            group: group.parse().unwrap(),
            users,
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_ipv4_list() {
        let text = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
            1\tlo        :     1      V3\n\
            \t\t\t\t010000E0     1 0:00000000\t\t0\n\
            4\tverylongname15: 2      V3\n\
            \t\t\t\t471D03E0     2 0:00000000\t\t1\n\
            \t\t\t\t010000E0     1 0:00000000\t\t0\n";
        assert_eq!(
            parse_v4(text),
            [
                member("lo", "224.0.0.1", 1),
                member("verylongname15", "224.3.29.71", 2),
                member("verylongname15", "224.0.0.1", 1),
            ]
        );
    }

    #[test]
    fn the_ipv6_list() {
        let text = "1    lo              ff020000000000000000000000000001     1 0000000C 0\n\
            4    eth0            ff1500000000000000000000abcd0001     3 00000004 0\n\
            nonsense\n\
            5    eth1            ff02     3 00000004 0\n";
        assert_eq!(
            parse_v6(text),
            [
                member("lo", "ff02::1", 1),
                member("eth0", "ff15::abcd:1", 3),
            ]
        );
    }

    #[test]
    fn this_machine_is_in_the_all_hosts_group() {
        let members = memberships().unwrap();
        let all_hosts: IpAddr = "224.0.0.1".parse().unwrap();
        assert!(members.iter().any(|m| m.group == all_hosts), "{members:?}");
    }

    proptest! {
        #[test]
        fn anything_is_parsed_without_a_panic(text in "[ \t\n0-9a-fA-F:xé]{0,200}") {
            parse_v4(&text);
            parse_v6(&text);
        }
    }
}
