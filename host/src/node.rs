//! Starts and ends everything in the right order.
