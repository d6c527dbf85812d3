//! The command line: its definition, from which help, man pages and completions are made, and the store that it names.
use crate::failure::{Answer, Failure};
use crate::show;
use crate::streams;
use clap::{Args, Parser, Subcommand};
use std::ffi::{CStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vfs::{Level, Log, Options, Store};

/// Sections begin with a line that ends with a colon; what is indented is shown as it stands. So `generate` reads it.
const ABOUT: &str = "\
Keys:
  A key is 1 to 255 bytes, any but '/', '\\' and control characters. What is
  not printable UTF-8 is shown as \\xNN, its bytes in hexadecimal, also in JSON.
  Every command takes a key as it is and as it is shown.

JSON:
  With --json, each line of the standard output is one object. Sizes are
  integers, in bytes; times are in UTC with nanoseconds. Fields are only ever
  added. The help of each command names its own. A blob is
    key        as shown, see above
    size       bytes
    state      \"owned\": it goes with the process that stored it;
               \"persistent\": it lives until it is removed;
               \"orphan\": its owner is dead, and the next reap removes it
    tier, dir  where it lies: the number of the tier, its directory
    stored_at  such as \"2026-11-22T22:16:40.123456789Z\"; null if the filesystem did not keep it
    age_ms     how long ago that was; null too
    id         16 hexadecimal digits; same key and same id, same bytes

Exit status:
  0   done
  1   no blob has this key
  2   the command line, a key, or the list of tiers is not as it should be
  3   a blob has this key already
  4   no room: in any tier, or where the output goes
  5   not permitted, or read-only
  6   input or output failed, of a tier or of a file
  7   this process has no memory or no descriptors left
  8   another process holds what was needed, and did not let go for 5 seconds
  70  a fault of vfsctl or of the library; please report it
  A failure is one line on the standard error, but for a command line that is
  not understood. Where several keys fail, the first one's status counts. If
  nobody reads the output any more, vfsctl ends by SIGPIPE and says nothing.
  A standard stream that is needed and closed is a failure (6), found before
  anything is changed; so is a message that could not be written.
  ls, stat and get name on the standard error each tier that they cannot look
  into, but not one whose directory does not exist. If they can look into no
  tier, they name the first one, and the status is 5 or 6.

Environment:
  VFS_TIERS  the tiers where --tiers is not given

Examples:
  vfsctl put table.arrow < table.arrow
  vfsctl ls
  vfsctl get table.arrow | head -c 8 | xxd
  vfsctl --tiers /dev/shm/mine,/var/tmp --store jobs ls --json | jq .size
  vfsctl rm table.arrow

See also:
  The library's header, vfs.h, is its manual.
";

const LS: &str = "\
JSON:
  One blob a line, ordered by key.

Examples:
  vfsctl ls
  vfsctl ls --keys | grep '^tmp-' | xargs -d '\\n' vfsctl rm --
  vfsctl ls --json | jq -r 'select(.state == \"orphan\") | .key'
";

const STAT: &str = "\
JSON:
  One blob a line, in the order of the keys that were given.

Examples:
  vfsctl stat plot.png
  vfsctl stat plot.png >/dev/null 2>&1 || make-plot
";

const PUT: &str = "\
JSON:
  The blob as it was found right after it was stored.

Examples:
  vfsctl put plot.png plot.png
  tar c src | vfsctl put src.tar
  vfsctl put --replace config config.json
";

const GET: &str = "\
JSON:
  The blob, and
    offset     where the part that was written begins
    length     how long it is
  On the standard error if the blob itself goes to the standard output.

Examples:
  vfsctl get src.tar | tar x
  vfsctl get plot.png plot.png
  vfsctl get --offset 4K --length 512 disk.img - | xxd
";

const RM: &str = "\
JSON:
  For each key
    key        as shown
    removed    true or false

Examples:
  vfsctl rm plot.png src.tar
  vfsctl rm --force maybe-there
";

const REAP: &str = "\
JSON:
    blobs      how many blobs of this store were removed, or would be
    bytes      their sizes, added up
    keys       their keys
    dry_run    true if nothing was removed

Examples:
  vfsctl reap --dry-run
  vfsctl reap
";

const TIERS: &str = "\
JSON:
  For each tier
    tier       its number
    kind       \"shm\": a filesystem of memory; \"dir\": any other directory
    dir        its directory
    other_users
               for root: who else has stores there, each with uid and name, or
               null without a name; for others an empty list
    state      \"ready\", \"unused\" or \"refused\", as above
    errno      of the refusal, or 0
    reason     the refusal in words, or null
    blobs, bytes, orphans
               what this store has there: blobs, their sizes added up, and how
               many of them have a dead owner
    free_bytes, total_bytes, free_inodes, total_inodes
               of the filesystem; 0 where it does not tell, or has no limit
    takes      with --try, whether it took the blob; else null

Examples:
  vfsctl tiers
  vfsctl tiers --try 2G
  vfsctl --user alice tiers
  vfsctl --tiers '/dev/shm?max=64M,/var/tmp' tiers --try 100M --json
";

const WATCH: &str = "\
JSON:
    at         when it was looked
    tiers      a list of what `vfsctl tiers --json` tells

Examples:
  vfsctl watch
  vfsctl watch --interval 500ms
  vfsctl watch --json --count 10 | jq -c '[.at, .tiers[].free_bytes]'
";

/// Looks at, fills and empties stores of libvfs
///
/// A store holds blobs: named, immutable strings of bytes, which any process of the same user on this host reads by
/// key. A blob lies in one of the store's tiers: shared memory, or a directory on disk. Commands that only look (ls,
/// stat, get, tiers, watch) make nothing and change nothing; put, rm and reap also remove what dead owners left, as
/// every program does that opens the store.
#[derive(Parser)]
#[command(name = "vfsctl", version, max_term_width = 100, after_long_help = ABOUT)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(args_override_self = true)] // so that an alias may have options
pub struct Cli {
    #[command(flatten)]
    pub context: Context,
    #[command(subcommand)]
    pub command: Command,
}

/// Which store, and how to tell of it.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub struct Context {
    /// The store's name [default: default]
    #[arg(long, value_name = "NAME", global = true)]
    pub store: Option<OsString>,

    /// The store's tiers, such as "shm,/var/tmp?max=2G" [default: $VFS_TIERS, else shm,/var/tmp,/tmp]
    ///
    /// A comma-separated list of "shm", which is /dev/shm, and absolute directories; in a path %2C is a comma, %3F a
    /// question mark and %25 a percent sign. Each may be followed by ?max=SIZE, ?reserve=SIZE or ?reserve=PERCENT%, or
    /// both, joined by &. vfsctl skips "memory", since each process has its own, and refuses a list with nothing else.
    /// If VFS_TIERS is empty, the default is used.
    #[arg(long, value_name = "LIST", global = true)]
    pub tiers: Option<OsString>,

    /// Work on the stores of another user; only root may
    ///
    /// vfsctl becomes that user before it opens anything: files too, such as the FILE of put and get, are read and
    /// written with that user's rights, and belong to that user. What the shell has opened stays open, so
    /// `vfsctl --user NAME get KEY > FILE` writes where only root may. A number that the user database does not have is
    /// allowed; vfsctl then has the group 65534 and no other.
    #[arg(long, value_name = "NAME|UID", global = true, value_hint = clap::ValueHint::Username)]
    pub user: Option<OsString>,

    /// Tell it as JSON, one object a line
    #[arg(long, global = true)]
    pub json: bool,

    /// Say what the library says of its tiers: which one refuses, and why
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

#[derive(Subcommand)]
pub enum Command {
    /// List the blobs: size, age, whose they are, tier and key
    ///
    /// The state of a blob is "owned" while the process that stored it lives, "persistent" if it lives until it is
    /// removed, "orphan" if its owner is dead and nobody reaped it yet.
    #[command(after_long_help = LS)]
    Ls {
        /// The keys alone, one a line
        #[arg(short, long)]
        keys: bool,
    },

    /// Tell all that is known of a blob
    #[command(after_long_help = STAT)]
    Stat {
        /// The keys to look for
        #[arg(value_name = "KEY", required = true)]
        keys: Vec<OsString>,
    },

    /// Store a file, or what a pipe brings
    ///
    /// The blob is persistent: it lives until it is removed, by `vfsctl rm` or by any other program. An owned one would
    /// go with its owner, and vfsctl ends at once. Nobody sees the blob before it is whole; if vfsctl is interrupted,
    /// nothing is left.
    ///
    /// A bar on the standard error tells how far it is, if that is a terminal and it takes more than a second.
    #[command(after_long_help = PUT)]
    Put {
        /// The key
        #[arg(value_name = "KEY")]
        key: OsString,
        /// The file; "-" is the standard input
        #[arg(value_name = "FILE", default_value = "-", hide_default_value = true, value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
        /// Take the place of a blob that has the key, whoever owns it
        #[arg(short, long)]
        replace: bool,
    },

    /// Write a blob, or a part of it, to a file or a pipe
    ///
    /// All bytes come from the blob that has the key when vfsctl begins, also if it is removed or replaced meanwhile. A
    /// new file is made whole or not at all. So is one that replaces a file of this user: it takes the place of the old
    /// one when the last byte is written, with its mode, group and extended attributes, and is private until then.
    ///
    /// A file is written in place, as cp does, where replacing it would change more than its contents: if it has another
    /// owner, several hard links, a set-user-ID, set-group-ID or sticky bit, if its directory may not be written to, or
    /// if something is mounted on it. A failure then leaves a part of the blob there, and says so. A symbolic link of
    /// another user in a sticky directory that everybody may write to is not followed, also with fs.protected_symlinks=0:
    /// the answer is "Permission denied". Any other symbolic link is followed, and stays.
    ///
    /// A bar on the standard error tells how far it is, if that is a terminal and it takes more than a second.
    #[command(after_long_help = GET)]
    Get {
        /// The key
        #[arg(value_name = "KEY")]
        key: OsString,
        /// The file; "-" is the standard output
        #[arg(value_name = "FILE", default_value = "-", hide_default_value = true, value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
        /// Begin there; nothing is written if that is behind the end
        #[arg(short, long, value_name = "SIZE", default_value = "0", hide_default_value = true, value_parser = size)]
        offset: u64,
        /// Write at most so many bytes; a SIZE may have a unit K, M, G or T, powers of 1024
        #[arg(short, long, value_name = "SIZE", value_parser = size)]
        length: Option<u64>,
    },

    /// Remove blobs, whoever owns them
    ///
    /// Who reads a blob at that moment keeps it.
    #[command(after_long_help = RM)]
    Rm {
        /// The keys to remove
        #[arg(value_name = "KEY", required = true)]
        keys: Vec<OsString>,
        /// A key that is not there is no failure
        #[arg(short, long)]
        force: bool,
    },

    /// Remove what dead owners left
    ///
    /// Removes blobs whose owner is dead, and what it left unfinished, in all stores of this user on these tiers. Told
    /// are the blobs of this store. Persistent blobs and those of living owners are never touched.
    #[command(after_long_help = REAP)]
    Reap {
        /// Tell what would be removed, and remove nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
    },

    /// Tell of each tier what it holds, what is free, and what it refuses
    ///
    /// A tier is "ready", "unused" where nothing of this store lies, or "refused" with the reason. A store's directories
    /// are made when it is opened for writing, and go with its last blob and the last process that has it open. An
    /// "unused" tier may still refuse blobs. Whether a tier takes blobs is known only by trying: --try does.
    #[command(after_long_help = TIERS)]
    Tiers {
        /// Try where a blob of this size would go now, and why no higher
        ///
        /// SIZE is in bytes, or has a unit K, M, G or T, powers of 1024.
        ///
        /// Its bytes are really written, and given up: nobody sees them, but for that moment they take the room. A max=
        /// of a tier counts for each process alone, so here it is compared with this size. The exit status is 4 if no
        /// tier has room.
        #[arg(long = "try", value_name = "SIZE", value_parser = size)]
        try_size: Option<u64>,
    },

    /// Tell of the tiers again and again, until interrupted
    ///
    /// On a terminal, each look takes the place of the last; else each is told in lines of its own.
    #[command(after_long_help = WATCH)]
    Watch {
        /// How long to wait between two looks, such as 500ms; a number alone is seconds
        #[arg(short, long, value_name = "TIME", default_value = "2s", value_parser = interval)]
        interval: Duration,
        /// Stop after so many looks
        #[arg(short = 'n', long, value_name = "NUMBER")]
        count: Option<u64>,
    },

    /// Write man pages and shell completions below a directory, laid out as in /usr/share
    #[command(hide = true)]
    Generate {
        /// The directory; it is made if it is not there
        #[arg(value_name = "DIRECTORY")]
        dir: PathBuf,
    },
}

impl Command {
    /// Whether the standard output is needed for what this tells.
    pub fn writes_output(&self, context: &Context) -> bool {
        match self {
            Command::Ls { .. } | Command::Stat { .. } | Command::Reap { .. } => true,
            Command::Tiers { .. } | Command::Watch { .. } => true,
            Command::Get { file, .. } => context.json || is_output(file),
            Command::Put { .. } | Command::Rm { .. } => context.json,
            Command::Generate { .. } => false,
        }
    }

    /// Whether the standard error is needed for more than failures.
    pub fn writes_error(&self, context: &Context) -> bool {
        let beside_blob = matches!(self, Command::Get { file, .. } if is_output(file));
        context.verbose || context.json && beside_blob
    }
}

/// Whether this stands for the standard input or output.
pub fn is_standard(file: &Path) -> bool {
    file == Path::new("-")
}

/// Whether what is written there goes to the standard output.
pub fn is_output(file: &Path) -> bool {
    ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| file == Path::new(name))
}

/// A number of bytes with an optional unit, as in a list of tiers.
fn size(text: &str) -> Result<u64, String> {
    let bad = || "not a size: a number, maybe with a unit K, M, G or T".to_string();
    let (digits, shift) = match text.trim_end_matches(['K', 'M', 'G', 'T', 'k', 'm', 'g', 't']) {
        digits if digits.len() == text.len() => (digits, 0),
        digits => match text[digits.len()..].to_ascii_uppercase().as_str() {
            "K" => (digits, 10),
            "M" => (digits, 20),
            "G" => (digits, 30),
            "T" => (digits, 40),
            _ => return Err(bad()),
        },
    };
    let all_digits = digits.bytes().all(|b| b.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| all_digits);
    number.and_then(|number| number.checked_mul(1 << shift)).ok_or_else(bad)
}

fn interval(text: &str) -> Result<Duration, String> {
    let answer = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|e| e.to_string()),
    };
    answer.and_then(|interval| match interval.is_zero() {
        true => Err("not without a pause".into()),
        false => Ok(interval),
    })
}

/// What a command does to the store that it opens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Makes nothing, changes nothing.
    Look,
    Change,
}

/// Says on the standard error what the library says.
struct Speaker;

impl Log for Speaker {
    fn log(&self, level: Level, message: &CStr) {
        let word = match level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "note",
        };
        streams::say(&format!("{word}: {}", show::text(message.to_bytes())));
    }
}

impl Context {
    pub fn open(&self, access: Access) -> Answer<Store> {
        let log: Option<Box<dyn Log>> = if self.verbose { Some(Box::new(Speaker)) } else { None };
        self.open_heard(access, log)
    }

    pub fn open_heard(&self, access: Access, log: Option<Box<dyn Log>>) -> Answer<Store> {
        let tiers = self.tiers()?;
        let name = self.store.as_ref().map(|name| name.as_bytes());
        let options = Options { name, tiers: tiers.as_deref(), read_only: access == Access::Look, log };
        Ok(Store::open(options)?)
    }

    /// The tiers that processes can share: all that were named but "memory", in which a blob would end with us.
    fn tiers(&self) -> Answer<Option<Vec<u8>>> {
        let list = match &self.tiers {
            Some(list) => list.clone(),
            None => match std::env::var_os("VFS_TIERS") {
                Some(list) if !list.is_empty() => list,
                _ => return Ok(None),
            },
        };
        let is_shared = |tier: &&[u8]| *tier != b"memory" && !tier.starts_with(b"memory?");
        let shared: Vec<_> = list.as_bytes().split(|&b| b == b',').filter(is_shared).collect();
        match shared.is_empty() {
            true => Err(Failure::usage("the list of tiers has only \"memory\", and each process has its own")),
            false => Ok(Some(shared.join(&b','))),
        }
    }
}

/// Where each tier lies, as it is shown.
pub fn dirs(store: &Store) -> Answer<Vec<String>> {
    let mut dirs = Vec::new();
    while let Some(tier) = store.tier_stat(dirs.len() as u32)? {
        dirs.push(tier.dir.map_or("memory".into(), |dir| show::text(dir.to_bytes())));
    }
    Ok(dirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_has_no_contradiction() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    /// The words of each call of vfsctl in a line of a shell.
    fn calls(line: &str) -> Vec<Vec<String>> {
        let (mut calls, mut words, mut word, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
        for char in line.chars().chain(['|']) {
            match char {
                '\'' => quoted = !quoted,
                _ if quoted => word.push(char),
                ' ' | '|' | '<' | '>' => {
                    if !word.is_empty() {
                        words.push(std::mem::take(&mut word));
                    }
                    if char != ' ' {
                        calls.push(std::mem::take(&mut words));
                    }
                }
                _ => word.push(char),
            }
        }
        calls
            .iter_mut()
            .for_each(|call| drop(call.drain(..call.iter().position(|w| w == "vfsctl").unwrap_or(call.len()))));
        calls.retain(|call| !call.is_empty());
        calls
    }

    #[test]
    fn every_example_in_the_help_is_understood() {
        use clap::CommandFactory;
        let command = Cli::command();
        for command in std::iter::once(&command).chain(command.get_subcommands().filter(|sub| !sub.is_hide_set())) {
            let help = command.get_after_long_help().expect("help with examples").to_string();
            let examples = help.split("Examples:\n").nth(1).expect("examples");
            let lines: Vec<_> = examples.lines().map_while(|line| line.strip_prefix("  ")).collect();
            assert!(!lines.is_empty(), "{examples}");
            for line in lines {
                assert!(!calls(line).is_empty(), "{line}");
                for mut call in calls(line) {
                    if line.contains("xargs") && call.last().is_some_and(|word| word == "rm" || word == "--") {
                        call.push("key".into());
                    }
                    assert!(Cli::try_parse_from(&call).is_ok(), "{line}: {call:?}");
                }
            }
        }
    }

    #[test]
    fn sizes_and_times_are_read_as_written() {
        for (text, bytes) in [("0", 0), ("512", 512), ("4K", 4096), ("4k", 4096), ("1M", 1 << 20), ("2T", 2 << 40)] {
            assert_eq!(size(text), Ok(bytes));
        }
        for bad in ["", "K", "1KK", "1X", "-1", "+1", "1.5K", "99999999999999999999", "16777216T"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
        assert_eq!(interval("2"), Ok(Duration::from_secs(2)));
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(interval("1m 1s"), Ok(Duration::from_secs(61)));
        for bad in ["", "0", "-1", "inf", "nan", "soon", "0s"] {
            assert!(interval(bad).is_err(), "{bad:?}");
        }
    }
}
