//! One thread that owns one `B2bua`, its sockets and its timer.
