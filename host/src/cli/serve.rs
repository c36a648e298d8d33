//! `gatepost serve`.

use crate::config::Config;
use crate::node::Node;
use crate::telemetry;
use anyhow::Context as _;
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

pub(super) fn run(path: &Path) -> anyhow::Result<ExitCode> {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    telemetry::init(&config.log)?;
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
    // For REST, the store and housekeeping. Calls and audio have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("api")
        .enable_all()
        .build()
        .context("cannot make the runtime")?;
    runtime.block_on(serve(path, config))?;
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

async fn serve(path: &Path, config: Config) -> anyhow::Result<()> {
    // Before anything listens, so that an early signal is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let node = Node::start(config).await?;
    node.print_addresses();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(path, &node).await,
        }
    }
    tokio::select! {
        () = node.drain() => {}
        // A second signal means now.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    node.stop().await;
    Ok(())
}

async fn reload(path: &Path, node: &Node) {
    let result = match Config::load(path) {
        Ok(config) => node.reload(config).await,
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => tracing::info!("the configuration was read again"),
        Err(error) => tracing::error!("the configuration stays as it was: {error:#}"),
    }
}
