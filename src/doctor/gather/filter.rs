//! The packet filter's rules, as far as this user may read them.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::facts::Filter;
use super::super::firewall::{Rules, Traffic};
use super::child::{NoAnswer, ask};

/// A tool may take no longer.
const LIMIT: Duration = Duration::from_secs(2);

/// What the tools said; it depends on nothing else, and so can be asked while others listen.
#[derive(Debug)]
pub(super) struct Answers {
    nft: Result<String, NoAnswer>,
    iptables: (&'static str, Result<String, NoAnswer>),
}

/// Asks them.
pub(super) fn ask_all(group: SocketAddr) -> Answers {
    let iptables = match group {
        SocketAddr::V4(_) => "iptables-save",
        SocketAddr::V6(_) => "ip6tables-save",
    };
    Answers {
        nft: ask("nft", &["-j", "list", "ruleset"], LIMIT),
        iptables: (iptables, ask(iptables, &[], LIMIT)),
    }
}

/// What that means for the stream.
pub(super) fn read(answers: Answers, traffic: &Traffic) -> Filter {
    let mut filter = Filter::default();
    match answers.nft {
        Ok(json) => match Rules::from_nft(&json, traffic) {
            Some(rules) => filter.rules.push(("nft", rules)),
            None => filter.unread.push("nft printed no JSON".to_owned()),
        },
        Err(why) => filter.unread.push(sentence("nft", &why)),
    }
    let (tool, answer) = answers.iptables;
    match answer {
        Ok(text) => filter
            .rules
            .push((tool, Rules::from_iptables(&text, traffic))),
        // Most machines have one of the two.
        Err(NoAnswer::Missing) if !filter.rules.is_empty() => {}
        Err(why) => filter.unread.push(sentence(tool, &why)),
    }
    filter
}

fn sentence(tool: &str, why: &NoAnswer) -> String {
    match why {
        NoAnswer::Missing => format!("{tool} is not installed"),
        NoAnswer::TooSlow => format!("{tool} did not answer in {} s", LIMIT.as_secs()),
        NoAnswer::Failed(said) if is_refusal(said) => {
            format!("{tool} needs the right CAP_NET_ADMIN (run it with sudo)")
        }
        NoAnswer::Failed(said) => format!("{tool} said {said:?}"),
    }
}

fn is_refusal(said: &str) -> bool {
    ["not permitted", "ermission denied", "must be root"]
        .iter()
        .any(|words| said.contains(words))
}
