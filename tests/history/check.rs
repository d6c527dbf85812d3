//! Whether what several threads saw of one key can have happened: is there an order of their calls, each at one instant
//! between its beginning and its end, in which every call answers what it answered? (Linearizability; each key by itself.)
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;

/// A value's number: no two stores have the same. 0: the key has none.
pub type Value = u64;
/// A handle's number; each has its own for as long as it is open.
pub type Owner = u32;

/// What a call did, or saw, at its instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Store {
        value: Value,
        over: bool,
    },
    /// A store found the key taken.
    Exists,
    Remove,
    /// Removed what this handle owns, or nothing.
    RemoveOwned(Owner),
    Read(Value),
    /// There was some value.
    Present,
    Absent,
}

/// A call on the key. Times are of one clock.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub from: u64,
    pub to: u64,
    pub thread: usize,
    pub how: &'static str,
    pub act: Act,
}

/// What an owner has goes at some time after `from`, each value by itself, and is gone at `to`.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub owner: Owner,
    pub from: u64,
    pub to: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    // At the same time, what begins comes first: then the two are at once, which allows more.
    EndBegins(usize),
    Begins(usize),
    Over(usize),
    EndOver(usize),
}

/// One way in which it can have gone so far: the value now, and which of the calls that are not over have had their instant.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    value: Value,
    had: u64,
}

struct Checker<'a> {
    calls: &'a [Call],
    owners: &'a HashMap<Value, Owner>,
    states: HashSet<State>,
    /// The calls that are not over, each with its bit.
    pending: [Option<usize>; 64],
    ending: HashSet<Owner>,
}

impl Checker<'_> {
    /// The value after a call, where it can have its instant now.
    fn apply(&self, act: Act, value: Value) -> Option<Value> {
        match act {
            Act::Store { value: new, over } => (over || value == 0).then_some(new),
            Act::Remove => (value != 0).then_some(0),
            Act::RemoveOwned(owner) if self.owners.get(&value) == Some(&owner) => Some(0),
            Act::RemoveOwned(_) => Some(value),
            Act::Read(seen) => (value == seen).then_some(value),
            Act::Exists | Act::Present => (value != 0).then_some(value),
            Act::Absent => (value == 0).then_some(0),
        }
    }

    fn changes(act: Act) -> bool {
        matches!(act, Act::Store { .. } | Act::Remove | Act::RemoveOwned(_))
    }

    /// Gives those that only look their instant as soon as they can have it: nothing is lost by that.
    fn with_looks(&self, mut state: State) -> State {
        for (bit, &call) in self.pending.iter().enumerate() {
            if let Some(call) = call
                && !Self::changes(self.calls[call].act)
                && self.apply(self.calls[call].act, state.value).is_some()
            {
                state.had |= 1 << bit;
            }
        }
        state
    }

    /// Adds all that can come of the states before the next event.
    fn expand(&mut self) {
        let mut work: Vec<State> = self.states.drain().collect();
        let mut all = HashSet::new();
        while let Some(state) = work.pop() {
            let state = self.with_looks(state);
            if !all.insert(state) {
                continue;
            }
            if state.value != 0 && self.owners.get(&state.value).is_some_and(|owner| self.ending.contains(owner)) {
                work.push(State { value: 0, ..state });
            }
            for (bit, &call) in self.pending.iter().enumerate() {
                if let Some(call) = call
                    && Self::changes(self.calls[call].act)
                    && state.had & 1 << bit == 0
                    && let Some(value) = self.apply(self.calls[call].act, state.value)
                {
                    work.push(State { value, had: state.had | 1 << bit });
                }
            }
        }
        self.states = all;
    }
}

/// Fails with the story of the first call whose answer fits no order. `owners` has the owner of each value that has one.
pub fn check(calls: &[Call], ends: &[End], owners: &HashMap<Value, Owner>) -> Result<(), String> {
    let mut events: Vec<(u64, Event)> = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        assert!(call.from <= call.to);
        events.extend([(call.from, Event::Begins(at)), (call.to, Event::Over(at))]);
    }
    for (at, end) in ends.iter().enumerate() {
        events.extend([(end.from, Event::EndBegins(at)), (end.to, Event::EndOver(at))]);
    }
    events.sort();
    let states = HashSet::from([State { value: 0, had: 0 }]);
    let mut checker = Checker { calls, owners, states, pending: [None; 64], ending: HashSet::new() };
    for (_, event) in events {
        match event {
            Event::EndBegins(at) => drop(checker.ending.insert(ends[at].owner)),
            Event::Begins(at) => {
                let free = checker.pending.iter().position(Option::is_none).expect("fewer than 64 at once");
                checker.pending[free] = Some(at);
            }
            Event::Over(at) => {
                let before: Vec<_> = checker.states.iter().map(|state| state.value).collect();
                checker.expand();
                let bit = checker.pending.iter().position(|&call| call == Some(at)).expect("it began");
                checker.states.retain(|state| state.had & 1 << bit != 0);
                checker.states = checker.states.iter().map(|s| State { had: s.had & !(1 << bit), ..*s }).collect();
                checker.pending[bit] = None;
                if checker.states.is_empty() {
                    return Err(story(calls, ends, owners, calls[at].to, &format!("{:?}", calls[at]), &before));
                }
            }
            Event::EndOver(at) => {
                let before: Vec<_> = checker.states.iter().map(|state| state.value).collect();
                checker.expand();
                checker.states.retain(|state| owners.get(&state.value) != Some(&ends[at].owner));
                if checker.states.is_empty() {
                    return Err(story(calls, ends, owners, ends[at].to, &format!("{:?}", ends[at]), &before));
                }
            }
        }
    }
    Ok(())
}

/// What led to a violation at a time, for people.
fn story(
    calls: &[Call],
    ends: &[End],
    owners: &HashMap<Value, Owner>,
    at: u64,
    what: &str,
    before: &[Value],
) -> String {
    let mut text = format!("{what} fits no order of the calls; before it the value was one of {before:?}\n");
    let mut lines: BTreeMap<(u64, usize), String> = BTreeMap::new();
    for (number, call) in calls.iter().enumerate().filter(|(_, call)| call.from <= at) {
        let owner = match call.act {
            Act::Store { value, .. } => format!(" owner {:?}", owners.get(&value)),
            _ => String::new(),
        };
        let (from, to) = (at as i64 - call.from as i64, at as i64 - call.to as i64);
        let line = format!("  -{from} to -{to} ns: thread {} {} {:?}{owner}", call.thread, call.how, call.act);
        lines.insert((call.to, number), line);
    }
    for (number, end) in ends.iter().enumerate().filter(|(_, end)| end.from <= at) {
        let (from, to) = (at as i64 - end.from as i64, at.saturating_sub(end.to));
        lines.insert(
            (end.to.min(at), usize::MAX - number),
            format!("  -{from} to -{to} ns: the end of owner {}", end.owner),
        );
    }
    for line in lines.values().skip(lines.len().saturating_sub(40)) {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// What cannot have happened must be found out: a checker that lets all pass shows nothing.
#[test]
fn a_history_that_cannot_be_is_found_out() {
    let call = |from, to, act| Call { from, to, thread: 0, how: "", act };
    let store = |from, to, value, over| call(from, to, Act::Store { value, over });
    let owners = HashMap::from([(1, 7), (2, 8)]);
    let fits = |calls: &[Call], ends: &[End]| check(calls, ends, &owners).is_ok();
    let end = |from, to| [End { owner: 7, from, to }];
    // One after the other.
    assert!(fits(&[store(0, 1, 1, false), call(2, 3, Act::Read(1))], &[]));
    assert!(!fits(&[store(0, 1, 1, false), call(2, 3, Act::Absent)], &[]), "a value that is missing");
    assert!(!fits(&[call(0, 1, Act::Read(1)), store(2, 3, 1, false)], &[]), "a value from the future");
    let replaced = [store(0, 1, 1, false), store(2, 3, 2, true)];
    assert!(!fits(&[&replaced[..], &[call(4, 5, Act::Read(1))]].concat(), &[]), "an old value");
    let removed = [store(0, 1, 1, false), call(2, 3, Act::Remove)];
    assert!(!fits(&[&removed[..], &[call(4, 5, Act::Read(1))]].concat(), &[]), "a value that was removed");
    assert!(!fits(&[&removed[..], &[call(4, 5, Act::Present)]].concat(), &[]), "a key that was removed");
    assert!(!fits(&[&removed[..], &[call(4, 5, Act::Remove)]].concat(), &[]), "removed twice");
    assert!(!fits(&[call(0, 1, Act::Exists)], &[]), "taken by nobody");
    // At once.
    assert!(fits(&[store(0, 9, 1, false), call(2, 3, Act::Absent), call(4, 5, Act::Read(1))], &[]));
    assert!(!fits(&[store(0, 9, 1, false), call(2, 3, Act::Read(1)), call(4, 5, Act::Absent)], &[]), "there and gone");
    assert!(!fits(&[store(0, 9, 1, false), store(0, 9, 2, false)], &[]), "two winners");
    assert!(fits(&[store(0, 9, 1, false), store(0, 9, 2, false), call(0, 9, Act::Remove)], &[]));
    let two = [store(0, 9, 1, true), store(0, 9, 2, true), call(10, 11, Act::Read(1))];
    assert!(fits(&two, &[]));
    assert!(!fits(&[&two[..], &[call(12, 13, Act::Read(2))]].concat(), &[]), "back and forth");
    let torn = [store(0, 9, 1, true), store(0, 9, 2, true), call(1, 2, Act::Read(1)), call(3, 4, Act::Read(2))];
    assert!(!fits(&[&torn[..], &[call(5, 6, Act::Read(1))]].concat(), &[]), "seen, replaced and seen again");
    // Owners.
    assert!(fits(&[store(0, 1, 1, true), call(2, 3, Act::Absent)], &end(1, 9)));
    assert!(fits(&[store(0, 1, 1, true), call(2, 3, Act::Read(1)), call(10, 11, Act::Absent)], &end(1, 9)));
    assert!(!fits(&[store(0, 1, 1, true), call(10, 11, Act::Read(1))], &end(1, 9)), "it outlived its owner");
    assert!(!fits(&[store(0, 1, 2, true), call(10, 11, Act::Absent)], &end(1, 9)), "it went with another's owner");
    assert!(!fits(&[store(0, 1, 1, true), call(2, 3, Act::Absent)], &end(5, 9)), "it went before its owner");
    let owned = |owner| [store(0, 1, 1, true), call(2, 3, Act::RemoveOwned(owner)), call(4, 5, Act::Absent)];
    assert!(fits(&owned(7), &[]));
    assert!(!fits(&owned(8), &[]), "removed for another");
}
