//! What failed, in one line, and the exit status that it means. The numbers are documented in `cli` and only added to.
use crate::show;
use crate::streams::{self, Output};
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use vfs::Code;

const NOT_FOUND: u8 = 1;
const USAGE: u8 = 2;
const EXISTS: u8 = 3;
const NO_SPACE: u8 = 4;
const PERMISSION: u8 = 5;
const IO: u8 = 6;
const RESOURCES: u8 = 7;
const BUSY: u8 = 8;
const INTERNAL: u8 = 70; // EX_SOFTWARE of sysexits.h

pub type Answer<T = ()> = Result<T, Failure>;

#[derive(Debug)]
pub enum Failure {
    /// To be said in one line.
    Said(u8, String),
    /// It was said already.
    Told(u8),
    /// Nobody reads our output any more.
    BrokenPipe,
    /// What clap has to say, in lines of its own; help goes to the standard output.
    Arguments(u8, String),
}

impl Failure {
    /// Something on the command line is not what it should be.
    pub fn usage(what: impl Display) -> Failure {
        Failure::Said(USAGE, what.to_string())
    }

    /// What the library answered about something.
    pub fn about(what: impl Display, error: &vfs::Error) -> Failure {
        Failure::Said(status(error.code()), format!("{what}: {error}"))
    }

    /// What the operating system answered about something that is not the store's.
    pub fn io(what: impl Display, error: io::Error) -> Failure {
        let reason = show::io_error(&error);
        Failure::io_because(what, &error, reason)
    }

    /// The same, with a better reason than the operating system's.
    pub fn io_because(what: impl Display, error: &io::Error, reason: impl Display) -> Failure {
        let status = match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => PERMISSION,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => NO_SPACE,
            ErrorKind::OutOfMemory => RESOURCES,
            _ if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => RESOURCES,
            _ => IO,
        };
        Failure::Said(status, format!("{what}: {reason}"))
    }

    pub fn of_arguments(error: &clap::Error) -> Failure {
        match u8::try_from(error.exit_code()) {
            Ok(status) => Failure::Arguments(status, error.render().to_string()),
            Err(_) => Failure::Arguments(USAGE, error.render().to_string()),
        }
    }

    /// What had to be said could not be, though the rest is done.
    pub fn unsaid() -> Failure {
        Failure::Told(IO)
    }

    /// The same, with more to say.
    pub fn and(self, more: impl Display) -> Failure {
        match self {
            Failure::Said(status, what) => Failure::Said(status, format!("{what}; {more}")),
            told => told,
        }
    }

    /// Says it now, where others may follow; answers the exit status.
    pub fn say(&self) -> u8 {
        match self {
            Failure::Said(status, what) => {
                streams::say(what);
                *status
            }
            Failure::Told(status) => *status,
            Failure::BrokenPipe => {
                // As any other program of a pipeline ends.
                let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
                128 + 13
            }
            Failure::Arguments(status, text) => {
                let text: String = text.split_inclusive('\n').map(show::with_newline).collect();
                if *status != 0 {
                    streams::say_raw(&text);
                    return *status;
                }
                match Output::new().write_all(text.as_bytes()).and_then(|()| streams::end_output()) {
                    Ok(()) => 0,
                    Err(error) => Failure::from(error).say(),
                }
            }
        }
    }

    /// The end of the program.
    pub fn end(self) -> ExitCode {
        ExitCode::from(self.say())
    }
}

/// A failure to write to the standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            ErrorKind::BrokenPipe => Failure::BrokenPipe,
            _ => Failure::io(format!("writing to the {}", streams::OUTPUT), error),
        }
    }
}

impl From<vfs::Error> for Failure {
    fn from(error: vfs::Error) -> Failure {
        Failure::Said(status(error.code()), error.to_string())
    }
}

fn status(code: Code) -> u8 {
    match code {
        Code::Invalid | Code::Key => USAGE,
        Code::NotFound => NOT_FOUND,
        Code::Exists => EXISTS,
        Code::NoSpace => NO_SPACE,
        Code::Permission | Code::ReadOnly => PERMISSION,
        Code::Io | Code::Unsupported => IO,
        Code::NoMemory | Code::Limit => RESOURCES,
        Code::Busy => BUSY,
        Code::Shutdown | Code::Forked | Code::Panic => INTERNAL,
    }
}
