//! One vote per host: the reports of all viewers on one host count once, and what only one of several hosts reports is
//! weighed differently. Anybody can send reports under any number of SSRCs.

use std::net::IpAddr;

/// What each host reports: a need or a loss, larger where it is worse.
#[derive(Clone, Debug, Default)]
pub(super) struct Votes(Vec<(IpAddr, f32)>);

impl Votes {
    /// Adds one viewer's value; per host the largest counts.
    pub(super) fn add(&mut self, host: IpAddr, value: f32) {
        match self.0.iter_mut().find(|(h, _)| *h == host) {
            Some((_, old)) => *old = old.max(value),
            None => self.0.push((host, value)),
        }
    }

    /// The largest value.
    pub(super) fn worst(&self) -> f32 {
        self.0.iter().map(|(_, value)| *value).fold(0.0, f32::max)
    }

    /// The largest value that a second host confirms; with only one host, its value.
    pub(super) fn confirmed(&self) -> f32 {
        let mut values: Vec<f32> = self.0.iter().map(|(_, value)| *value).collect();
        values.sort_by(|a, b| b.total_cmp(a));
        values.get(1).or(values.first()).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
