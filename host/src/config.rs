//! Configuration: the file as written, and the same checked and complete.
