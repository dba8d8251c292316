//! One vote per host: the reports of all viewers on one host count once, and what only one of
//! several hosts reports is weighed differently. Anybody can send reports under any number of
//! SSRCs.

use std::net::IpAddr;

/// What each host reports: a need or a loss, larger where it is worse. Of any number of hosts the
/// worst two are kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Votes {
    worst: Option<(IpAddr, f32)>,
    second: Option<(IpAddr, f32)>,
}

impl Votes {
    /// Adds one viewer's value; per host the largest counts.
    pub(super) fn add(&mut self, host: IpAddr, value: f32) {
        match self.worst {
            Some((worst, old)) if worst == host => self.worst = Some((host, old.max(value))),
            Some((_, old)) if value <= old => {
                if self.second.is_none_or(|(_, second)| value > second) {
                    self.second = Some((host, value));
                }
            }
            worst => {
                self.second = worst;
                self.worst = Some((host, value));
            }
        }
    }

    /// The largest value.
    pub(super) fn worst(&self) -> f32 {
        self.worst.map_or(0.0, |(_, value)| value)
    }

    /// The largest value that a second host confirms; with only one host, its value.
    pub(super) fn confirmed(&self) -> f32 {
        self.second.or(self.worst).map_or(0.0, |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_host_alone_confirms_nothing_but_where_it_is_alone() {
        let mut votes = Votes::default();
        assert_eq!((votes.worst(), votes.confirmed()), (0.0, 0.0));
        let host = |last: u8| IpAddr::from([10, 0, 0, last]);
        votes.add(host(1), 0.5);
        votes.add(host(1), 0.7);
        assert_eq!((votes.worst(), votes.confirmed()), (0.7, 0.7));
        votes.add(host(2), 0.1);
        votes.add(host(3), 0.0);
        assert_eq!((votes.worst(), votes.confirmed()), (0.7, 0.1));
        votes.add(host(2), 0.9);
        assert_eq!((votes.worst(), votes.confirmed()), (0.9, 0.7));
        votes.add(host(3), 0.8);
        votes.add(host(2), 0.2);
        assert_eq!((votes.worst(), votes.confirmed()), (0.9, 0.8));
    }

    proptest! {
        /// The same as by a table of all hosts.
        #[test]
        fn the_worst_two_are_those_of_all(votes in prop::collection::vec((0u8..5, 0f32..1.0), 0..40)) {
            let mut ours = Votes::default();
            let mut table = std::collections::BTreeMap::<u8, f32>::new();
            for (last, value) in votes {
                ours.add([10, 0, 0, last].into(), value);
                let old = table.entry(last).or_default();
                *old = old.max(value);
            }
            let mut values: Vec<f32> = table.into_values().collect();
            values.sort_by(|a, b| b.total_cmp(a));
            let confirmed = values.get(1).or(values.first()).copied().unwrap_or(0.0);
            prop_assert_eq!(ours.worst(), values.first().copied().unwrap_or(0.0));
            prop_assert_eq!(ours.confirmed(), confirmed);
        }
    }
}
