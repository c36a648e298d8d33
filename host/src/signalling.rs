//! SIP sockets.
