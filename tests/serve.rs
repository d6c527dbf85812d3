//! `examples/serve`, driven by curl, by hand-made requests, and for load by wrk.
mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use vfs::{Flags, Key, Options, Store};

/// A bound on hanging, not a measure.
const PATIENCE: Duration = Duration::from_secs(100);
const REPLACE: Flags = Flags { replace: true, persist: false };

/// Compiles the server once, or says what it lacks.
fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let (root, libraries) = (Path::new(env!("CARGO_MANIFEST_DIR")), common::cdylib_dir());
        let compiler = std::env::var_os("CXX").unwrap_or("c++".into());
        let probe = Command::new(&compiler)
            .args(["-x", "c++", "-fsyntax-only", "-include", "microhttpd.h", "/dev/null"])
            .output()
            .expect("the C++ compiler");
        let there = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
        if !probe.status.success() || !there("curl") || !there("wrk") {
            return None;
        }
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("serve.{}", std::process::id()));
        let output = Command::new(&compiler)
            .args(["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror", "-O2"])
            .arg("-I")
            .arg(root.join("include"))
            .arg(root.join("examples/serve/serve.cpp"))
            .arg("-o")
            .arg(&path)
            .arg("-L")
            .arg(&libraries)
            .arg(format!("-Wl,-rpath,{}", libraries.display()))
            .args(["-lvfs", "-lmicrohttpd", "-pthread"])
            .output()
            .expect("the C++ compiler");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}");
        Some(path)
    });
    if program.is_none() {
        common::skip("the server needs libmicrohttpd (libmicrohttpd-dev), its test curl and wrk too");
    }
    program.as_deref()
}

/// A running server on a tier of its own, and a store there that holds what it serves.
struct Server {
    child: Child,
    url: String,
    store: Store,
    tier: tempfile::TempDir,
}

impl Server {
    fn start(program: &Path) -> Server {
        let tier = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let tiers = tier.path().to_str().unwrap();
        let store = Store::open(Options { tiers: Some(tiers.as_bytes()), ..Options::default() }).unwrap();
        let mut command = Command::new(program);
        command.arg("0").env("VFS_TIERS", tiers).env_remove("LD_LIBRARY_PATH").stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
        Server { child, url: url.trim().into(), store, tier }
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.store.store(&Key::new(key).unwrap(), bytes, REPLACE).unwrap();
    }

    fn curl(&self, path: &str, arguments: &[&str]) -> Answer {
        let url = format!("{}{path}", self.url);
        let output = Command::new("curl")
            .args(["-s", "-S", "-i", "--path-as-is", "--max-time", "100"])
            .args(arguments)
            .arg(&url)
            .output()
            .unwrap();
        assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
        Answer::read(&output.stdout)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.url.trim_start_matches("http://").trim_end_matches('/')).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// What is answered to these very bytes.
    fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer); // also when the rest of a bad request was never read
        Answer::read(&answer)
    }

    /// How many views of blobs the server has.
    fn views(&self) -> usize {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.child.id())).expect("the server runs");
        maps.lines().filter(|line| line.contains("/vfs1-")).count()
    }

    fn await_no_views(&self) {
        let until = Instant::now() + PATIENCE;
        while self.views() > 0 {
            assert!(Instant::now() < until, "{} views are never given back", self.views());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM ends it well, and it has complained of nothing.
    fn end(mut self) {
        // SAFETY: a signal to our own child, which is not reaped yet.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        let status = self.child.wait().unwrap();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(status.success() && said.is_empty(), "{status}: {said}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // of a test that failed; else it is gone
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
struct Answer {
    status: u32,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: bytes[end + 4..].to_vec() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// A thousand bytes of which no two parts are the same.
fn sample() -> Vec<u8> {
    (0..1000u32).flat_map(|i| i.to_string().into_bytes()).take(1000).collect()
}

#[test]
fn curl_gets_blobs_whole_and_in_ranges_and_asks_again_by_etag() {
    let Some(program) = program() else { return };
    let server = Server::start(program);
    let bytes = sample();
    server.put("plot.png", &bytes);
    server.put("empty", b"");
    let odd = "a b?c#d%é&+";
    server.put(odd, b"odd");

    let whole = server.curl("plot.png", &[]);
    assert_eq!((whole.status, &whole.body), (200, &bytes));
    assert_eq!(whole.header("content-length"), Some("1000"));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    let etag = whole.header("etag").unwrap().to_string();
    let id = server.store.stat(&Key::new("plot.png").unwrap()).unwrap().id;
    assert_eq!(etag, format!("\"{id:016x}\""));
    let head = server.curl("plot.png", &["-I"]);
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("1000"), 0));
    assert_eq!(head.header("etag"), Some(&*etag));
    let head = server.curl("plot.png", &["-I", "-r", "1-2"]); // a Range is GET's alone
    assert_eq!((head.status, head.header("content-length")), (200, Some("1000")));
    let empty = server.curl("empty", &[]);
    assert_eq!((empty.status, empty.header("content-length"), empty.body.len()), (200, Some("0"), 0));
    assert_eq!(server.curl("a%20b%3Fc%23d%25%C3%a9&+", &[]).body, b"odd");
    assert_eq!(server.curl("plot.png?v=1", &[]).body, bytes);
    assert_eq!(server.curl("absent", &[]).status, 404);
    assert_eq!(server.curl("absent", &["-I"]).status, 404);
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let refused = server.curl("plot.png", &["-X", method]);
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }

    // What a GET brings along is read and means nothing.
    assert_eq!(server.curl("plot.png", &["-X", "GET", "-d", "a body"]).body, bytes);
    assert_eq!(server.curl("plot.png", &["-X", "GET", "-H", "Transfer-Encoding: chunked", "-d", "a body"]).body, bytes);

    let all = Some((0, 999));
    for (range, part) in [
        ("bytes=0-0", Some((0, 0))),
        ("bytes=2-11", Some((2, 11))),
        ("bytes=999-", Some((999, 999))),
        ("bytes=990-5000", Some((990, 999))),
        ("bytes=0-99999999999999999999999", all),
        ("bytes=-1", Some((999, 999))),
        ("bytes=-1000", all),
        ("bytes=-5000", all),
        ("BYTES=2-3", Some((2, 3))),
        ("bytes=1000-", None),
        ("bytes=1000-2000", None),
        ("bytes=-0", None),
        ("bytes=18446744073709551615-", None),
        ("bytes=99999999999999999999999-", None),
    ] {
        let answer = server.curl("plot.png", &["-H", &format!("Range: {range}")]);
        let (status, told, body) = match part {
            Some((first, last)) => (206, format!("bytes {first}-{last}/1000"), &bytes[first..=last]),
            None => (416, "bytes */1000".into(), &answer.body[..]),
        };
        assert_eq!((answer.status, answer.header("content-range")), (status, Some(&*told)), "{range}");
        assert_eq!(answer.body, body, "{range}");
        assert_eq!(answer.header("content-length"), Some(&*body.len().to_string()), "{range}");
    }
    assert_eq!(server.curl("empty", &["-r", "0-"]).status, 416);
    // What is no single range is ignored.
    for range in [
        "bytes=5-4",
        "bytes=0-1,3-4",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1-2x",
        "bytes=+1-2",
        "bytes=--1",
        "items=0-1",
    ] {
        let answer = server.curl("plot.png", &["-H", &format!("Range: {range}")]);
        assert_eq!((answer.status, &answer.body), (200, &bytes), "{range}");
    }

    let asks = |header: &str, value: &str| server.curl("plot.png", &["-r", "0-1", "-H", &format!("{header}: {value}")]);
    for same in [etag.clone(), format!("\"0\", W/{etag}"), "*".into()] {
        let answer = asks("If-None-Match", &same);
        assert_eq!((answer.status, answer.body.len(), answer.header("etag")), (304, 0, Some(&*etag)), "{same}");
    }
    assert_eq!(asks("If-None-Match", "\"0\"").status, 206);
    assert_eq!(asks("If-Range", &etag).status, 206);
    for other in ["\"0\"", "Sun, 06 Nov 1994 08:49:37 GMT", &format!("W/{etag}")] {
        assert_eq!((asks("If-Range", other).status, asks("If-Range", other).body), (200, bytes.clone()), "{other}");
    }
    server.put("plot.png", &bytes); // the same bytes, stored again: another blob
    assert_eq!(asks("If-None-Match", &etag).status, 206);
    assert_eq!(asks("If-Range", &etag).status, 200);
    server.await_no_views();
    server.end();
}

#[test]
fn hostile_names_are_refused_and_reach_nothing_else() {
    let Some(program) = program() else { return };
    let server = Server::start(program);
    server.put("a", b"secret");
    server.put("b", b"secret");
    let uid = fs::metadata("/proc/self").unwrap().uid();
    let inside = format!("vfs1-{uid}/default/objects/a");
    assert!(server.tier.path().join(&inside).exists());
    let long = "x".repeat(256);
    for path in [
        "..",
        "%2e%2e",
        ".",
        "%2E",
        "",
        "%00",
        "a%00",
        "a%00b",
        "%00a",
        "a%2Fb",
        "a/b",
        "/a",
        "./a",
        "../a",
        "%2e%2e%2fa",
        "..%5Ca",
        "a%5Cb",
        "%01",
        "a%0d%0ab",
        "%7F",
        "%",
        "a%",
        "a%2",
        "a%zz",
        "a%2g",
        "a%%",
        "%u0061",
        "a%C0",
        &long,
        "..%2f..%2fdefault%2fobjects%2fa",
        &format!("..%2f..%2f..%2f{inside}"),
        "%5Clock",
        "%252e%252e",
        "a%2500",
    ] {
        let answer = server.curl(path, &[]);
        let absent = matches!(path, "a%C0" | "%252e%252e" | "a%2500"); // keys as good as any, that nobody stored
        assert_eq!(answer.status, if absent { 404 } else { 400 }, "{path}");
        assert!(!answer.body.windows(6).any(|six| six == b"secret"), "{path}");
        assert_eq!(server.curl(path, &["-I"]).status, answer.status, "{path}");
    }
    // What no client of good will sends.
    for request in [
        &b"GET /a\0b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"[..],
        b"GET /a\0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /a?\0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET http://x/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /../a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ] {
        let answer = server.raw(request);
        assert_eq!(answer.status, 400, "{}: {answer:?}", String::from_utf8_lossy(request));
        assert!(!answer.body.windows(6).any(|six| six == b"secret"));
    }
    assert_eq!(server.raw(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").body, b"secret");
    server.end();
}

#[test]
fn closed_connections_and_shortened_files_leave_the_server_well_and_no_view() {
    let Some(program) = program() else { return };
    let server = Server::start(program);
    let big = vec![b'b'; 24 << 20];
    server.put("big", &big);
    server.put("small", b"small");
    let ask = b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut buffer = [0; 1000];
    for i in 0..60 {
        let mut stream = server.connect();
        stream.write_all(&ask[..if i % 3 == 0 { 10 } else { ask.len() }]).unwrap();
        if i % 3 == 1 {
            stream.read_exact(&mut buffer).unwrap();
            assert!(buffer.starts_with(b"HTTP/1.1 200 "));
        }
        drop(stream); // with bytes unread, which resets the connection
    }
    server.await_no_views();
    // Gone while it is sent: what is under way goes on.
    let mut stream = server.connect();
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_exact(&mut buffer).unwrap();
    server.store.remove(&Key::new("big").unwrap()).unwrap();
    assert_eq!(server.curl("big", &[]).status, 404);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let answer = Answer::read(&[&buffer[..], &rest].concat());
    assert!(answer.body == big, "{} bytes of a removed blob", answer.body.len());
    // Shortened from outside while it is sent: that connection ends early, and nothing else.
    server.put("big", &big);
    let mut stream = server.connect();
    stream.write_all(ask).unwrap();
    stream.read_exact(&mut buffer).unwrap();
    let uid = fs::metadata("/proc/self").unwrap().uid();
    let file = server.tier.path().join(format!("vfs1-{uid}/default/objects/big"));
    fs::OpenOptions::new().write(true).open(file).unwrap().set_len(0).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < big.len());
    server.await_no_views();
    assert_eq!(server.curl("small", &[]).body, b"small");
    server.end();
}

/// What wrk runs for each request and answer: a blob is one letter, so often as the letter says.
const LOAD: &str = r#"
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args) seen, bad, asked = 0, 0, 0 end
function request()
  asked = asked + 1
  return wrk.format("GET", "/key-" .. asked % 4)
end
function response(status, headers, body)
  seen = seen + 1
  local letter = body:sub(1, 1)
  local whole = #body > 0 and #body == 5000 * (letter:byte() - 96) and body == letter:rep(#body)
  if status ~= 200 or not whole or tonumber(headers["Content-Length"]) ~= #body then bad = bad + 1 end
end
function done(summary)
  local seen, bad = 0, 0
  for _, thread in ipairs(threads) do seen, bad = seen + thread:get("seen"), bad + thread:get("bad") end
  local e = summary.errors
  io.write(string.format("RESULT %d answers, %d failures\n", seen, bad + e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

#[test]
fn under_load_every_answer_is_one_whole_blob_while_all_are_replaced() {
    let Some(program) = program() else { return };
    let server = Server::start(program);
    let put =
        |i: usize| server.put(&format!("key-{}", i % 4), &[b'a' + (i * 7 % 26) as u8].repeat(5000 * (i * 7 % 26 + 1)));
    (0..4).for_each(put);
    let work = tempfile::tempdir().unwrap();
    let script = work.path().join("load.lua");
    fs::write(&script, LOAD).unwrap();
    let (ended, mut replaced) = (AtomicBool::new(false), 0);
    let output = std::thread::scope(|scope| {
        let wrk = scope.spawn(|| {
            let mut wrk = Command::new("wrk");
            wrk.args(["-t", "2", "-c", "16", "-d", "2s", "--timeout", "60s", "-s"]).arg(&script).arg(&server.url);
            let output = wrk.output();
            ended.store(true, Ordering::Relaxed);
            output
        });
        while !ended.load(Ordering::Relaxed) {
            put(replaced);
            replaced += 1;
            std::thread::sleep(Duration::from_micros(200));
        }
        wrk.join().unwrap().unwrap()
    });
    let said = String::from_utf8_lossy(&output.stdout);
    let result = said.lines().find_map(|line| line.strip_prefix("RESULT ")).unwrap_or_else(|| panic!("{said}"));
    assert!(output.status.success() && result.ends_with(" answers, 0 failures") && !result.starts_with("0 "), "{said}");
    assert!(replaced > 4);
    server.await_no_views();
    server.end();
}
