//! The program `gatepost`. All it does is in the library.

use std::process::ExitCode;

// glibc's arenas cost hundreds of MB with many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    host::cli::run()
}
