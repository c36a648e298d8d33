//! The command line: `gatepost serve`, `check`, `plugin check`, `replay`.
//!
//! Exit codes: 0 all is well, 1 the thing asked about is wrong or failed, 2 the command line
//! itself is wrong.

mod check;
mod plugin;
mod replay;
mod serve;

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// A session border controller programmed with Wasm components.
#[derive(Debug, Parser)]
#[command(name = "gatepost", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the host until SIGTERM; SIGHUP reads the configuration again.
    Serve {
        /// Configuration file. Relative paths in it are relative to the working directory.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Check a configuration file; errors name line and key.
    Check {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Work with plugin files.
    #[command(subcommand)]
    Plugin(Plugin),
    /// Ask a component again what a recorded call was decided on, and show the first difference.
    Replay {
        /// The call's id, as `/api/calls` and `X-Gatepost-Call` name it.
        call: String,
        /// The component to ask.
        #[arg(long = "with", value_name = "FILE.wasm")]
        with: PathBuf,
        /// Configuration file that names the store of the call.
        #[arg(long, value_name = "FILE", default_value = "gatepost.toml")]
        config: PathBuf,
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Compile one component; the host calls itself with this, under limits.
    #[command(hide = true, name = plugin_host::COMPILE_COMMAND, disable_help_flag = true)]
    Compile {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(Debug, Subcommand)]
enum Plugin {
    /// Tell what a component is: its kinds, world, imports, manifest; or what is wrong with it.
    Check {
        file: PathBuf,
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the program with the process's arguments.
pub fn run() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve { config } => serve::run(&config),
        Command::Check { config } => check::run(&config),
        Command::Plugin(Plugin::Check { file, json }) => plugin::check(&file, json),
        Command::Replay {
            call,
            with,
            config,
            json,
        } => replay::run(&config, &call, &with, json),
        Command::Compile { arguments } => plugin::compile(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("gatepost: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_commands_that_others_rely_on_are_understood() {
        for line in [
            "gatepost serve --config gatepost.toml",
            "gatepost check --config gatepost.toml",
            "gatepost plugin check router.wasm",
            "gatepost plugin check router.wasm --json",
            "gatepost replay 0123 --with plugin.wasm",
            "gatepost replay 0123 --with plugin.wasm --config gatepost.toml --json",
        ] {
            Arguments::try_parse_from(line.split(' '))
                .unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}
