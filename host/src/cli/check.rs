//! `gatepost check`.

use crate::config::Config;
use std::path::Path;
use std::process::ExitCode;

pub(super) fn run(path: &Path) -> anyhow::Result<ExitCode> {
    match Config::load(path) {
        Ok(config) => {
            for notice in &config.notices {
                println!("notice: {notice}");
            }
            println!("{}: ok, {} tenant(s)", path.display(), config.tenants.len());
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("{error}");
            Ok(ExitCode::FAILURE)
        }
    }
}
