//! The RTP ports of one worker, as plain numbers: an SDP can go out without asking anybody.
//! A port that comes back rests behind [`RESTING`] others, so that late packets of an ended
//! call do not reach the next one; then it is taken again before one that was never used,
//! because its sockets are open.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// Ports that rest before the first of them is used again.
const RESTING: usize = 256;

#[derive(Debug)]
pub struct PortPool {
    /// never used
    fresh: VecDeque<u16>,
    /// given back, the longest rested first
    rested: VecDeque<u16>,
    size: usize,
    bad: usize,
}

impl PortPool {
    /// Even ports whose odd neighbour (RTCP, RFC 3550 §11) is in the range too.
    pub fn new(range: RangeInclusive<u16>) -> Self {
        let (start, end) = (*range.start(), *range.end());
        let fresh: VecDeque<u16> = (start..=end)
            .filter(|p| p % 2 == 0 && *p < end && *p > 0)
            .collect();
        PortPool {
            size: fresh.len(),
            fresh,
            rested: VecDeque::new(),
            bad: 0,
        }
    }

    pub fn take(&mut self) -> Option<u16> {
        if self.rested.len() > RESTING {
            return self.rested.pop_front();
        }
        self.fresh.pop_front().or_else(|| self.rested.pop_front())
    }

    pub fn give_back(&mut self, port: u16) {
        debug_assert!(
            !self.rested.contains(&port),
            "port {port} was given back twice"
        );
        self.rested.push_back(port);
    }

    /// Somebody else on this machine has it: never hand it out again.
    pub fn lose(&mut self, _port: u16) {
        self.bad += 1;
    }

    pub fn in_use(&self) -> usize {
        self.size - self.bad - self.fresh.len() - self.rested.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_even_pairs_and_come_back_last() {
        let mut pool = PortPool::new(10_001..=10_006);
        assert_eq!(pool.take(), Some(10_002));
        pool.give_back(10_002);
        assert_eq!(pool.take(), Some(10_004));
        assert_eq!(pool.take(), Some(10_002));
        assert_eq!(pool.take(), None);
        assert_eq!(pool.in_use(), 2);
    }

    #[test]
    fn a_port_that_rested_is_taken_before_one_that_was_never_used() {
        let mut pool = PortPool::new(10_000..=19_999);
        let first: Vec<u16> = (0..RESTING + 1).filter_map(|_| pool.take()).collect();
        for port in &first {
            pool.give_back(*port);
        }
        assert_eq!(pool.take(), Some(first[0]));
        assert_eq!(
            pool.take(),
            Some(10_000 + 2 * first.len() as u16),
            "the others still rest"
        );
    }

    #[test]
    fn a_lost_port_is_not_in_use_and_not_handed_out() {
        let mut pool = PortPool::new(10_000..=10_003);
        let port = pool.take().unwrap();
        pool.lose(port);
        assert_eq!(pool.in_use(), 0);
        assert_ne!(pool.take(), Some(port));
    }

    #[test]
    fn the_last_port_of_all_is_no_pair() {
        assert_eq!(PortPool::new(65_534..=65_535).take(), Some(65_534));
        assert_eq!(PortPool::new(65_534..=65_534).take(), None);
    }
}
