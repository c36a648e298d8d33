//! Calls in virtual time. See `tests::sim`.

mod basic;
mod flows;
mod hunting;
mod loss;
mod modify;
mod races;
mod refusals;
