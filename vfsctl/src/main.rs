//! `vfsctl`: what lies in the stores of libvfs, from the command line.
//!
//! ```text
//! main       run a command, answer with an exit status
//! cli        the definition of the command line, its help, and opening the store that it names
//! blobs      ls, stat, rm, reap
//! transfer   put, get
//! tiers      tiers, watch
//! generate   man pages and shell completions from the definition
//! output     writing a file: whole or not at all, or in place
//! path       where a path leads, and opening what is there
//! user       who else has stores, and becoming that user
//! signals    what is done before a signal ends the process
//! show       keys, sizes, ages and JSON; what reaches a terminal
//! failure    what failed, and the exit status that it means
//! streams    the standard streams
//! sys        which of them were closed at the start
//! ```
//!
//! It stands on the library's Rust API alone. Unsafe code is in `sys` only.
#![deny(unsafe_code)]

mod blobs;
mod cli;
mod failure;
mod generate;
mod output;
mod path;
mod show;
mod signals;
mod streams;
#[allow(unsafe_code)]
mod sys;
mod tiers;
mod transfer;
mod user;

use clap::Parser;
use cli::{Cli, Command};
use failure::{Answer, Failure};
use signal_hook::consts::SIGXFSZ;
use std::process::ExitCode;
use std::sync::Arc;

fn run(cli: &Cli) -> Answer {
    let context = &cli.context;
    if let Some(name) = &context.user {
        user::become_user(name)?;
    }
    // Before anything is changed.
    let using = |stream: &'static str| move |error| Failure::io(format!("writing to the {stream}"), error);
    if cli.command.writes_output(context) {
        streams::has_output().map_err(using(streams::OUTPUT))?;
    }
    if cli.command.writes_error(context) {
        streams::has_error().map_err(using(streams::ERROR))?;
    }
    match &cli.command {
        Command::Ls { keys } => blobs::ls(context, *keys),
        Command::Stat { keys } => blobs::stat(context, keys),
        Command::Put { key, file, replace } => transfer::put(context, key, file, *replace),
        Command::Get { key, file, offset, length } => transfer::get(context, key, file, *offset, *length),
        Command::Rm { keys, force } => blobs::rm(context, keys, *force),
        Command::Reap { dry_run } => blobs::reap(context, *dry_run),
        Command::Tiers { try_size } => tiers::tiers(context, *try_size),
        Command::Watch { interval, count } => tiers::watch(context, *interval, *count),
        Command::Generate { dir } => generate::write(dir),
    }
}

fn main() -> ExitCode {
    // Heeded, and so no end of this process, but a failure of the write: a file may not grow so large.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    let answer = match Cli::try_parse() {
        Ok(cli) => run(&cli),
        Err(error) => Err(Failure::of_arguments(&error)),
    };
    signals::stay_while_interrupted();
    match answer {
        Ok(()) if !streams::all_said() => Failure::unsaid().end(),
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(),
    }
}
