//! The RTP ports of one worker, as plain numbers: an SDP can go out without asking anybody.
//! A port that comes back goes to the end of the queue, so that late packets of an ended
//! call do not reach the next one.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

#[derive(Debug)]
pub struct PortPool {
    free: VecDeque<u16>,
    size: usize,
    bad: usize,
}

impl PortPool {
    /// Even ports whose odd neighbour (RTCP, RFC 3550 §11) is in the range too.
    pub fn new(range: RangeInclusive<u16>) -> Self {
        let (start, end) = (*range.start(), *range.end());
        let free: VecDeque<u16> = (start..=end)
            .filter(|p| p % 2 == 0 && *p < end && *p > 0)
            .collect();
        PortPool {
            size: free.len(),
            free,
            bad: 0,
        }
    }

    pub fn take(&mut self) -> Option<u16> {
        self.free.pop_front()
    }

    pub fn give_back(&mut self, port: u16) {
        debug_assert!(
            !self.free.contains(&port),
            "port {port} was given back twice"
        );
        self.free.push_back(port);
    }

    /// Somebody else on this machine has it: never hand it out again.
    pub fn lose(&mut self, _port: u16) {
        self.bad += 1;
    }

    pub fn in_use(&self) -> usize {
        self.size - self.bad - self.free.len()
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
