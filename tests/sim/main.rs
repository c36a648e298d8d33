//! Calls in virtual time. See `tests::sim`.

mod basic;
mod chaos;
mod flows;
mod hunting;
mod loss;
mod modify;
mod races;
mod refusals;
