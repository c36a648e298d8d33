//! The journal of calls, written off the hot path.
