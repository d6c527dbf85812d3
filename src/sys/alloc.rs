//! Memory that may be refused: the standard library's boxes and counters abort the host instead.
use super::sync::atomic::{AtomicUsize, Ordering, fence};
use std::alloc::{Layout, alloc, dealloc};
use std::ffi::CStr;
use std::fmt::{self, Write};
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::NonNull;

/// The allocator refused.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("out of memory")]
pub struct NoMemory;

/// `Box::new` that can fail.
pub fn try_box<T>(value: T) -> Result<Box<T>, NoMemory> {
    let layout = Layout::new::<T>();
    if layout.size() == 0 {
        return Ok(Box::new(value)); // needs no memory
    }
    // SAFETY: the layout has a size; the memory is written before the box owns it.
    unsafe {
        let place = alloc(layout).cast::<T>();
        if place.is_null() {
            return Err(NoMemory);
        }
        place.write(value);
        Ok(Box::from_raw(place))
    }
}

/// `Vec::push` that can fail.
pub fn try_push<T>(list: &mut Vec<T>, value: T) -> Result<(), NoMemory> {
    list.try_reserve(1).map_err(|_| NoMemory)?;
    list.push(value);
    Ok(())
}

/// Puts up to `len` bytes behind a vector's end, into room that it has already: as many as `read` says that it wrote.
pub fn fill<E>(
    bytes: &mut Vec<u8>,
    len: usize,
    read: impl FnOnce(&mut [MaybeUninit<u8>]) -> Result<usize, E>,
) -> Result<(), E> {
    let before = bytes.len();
    let spare = bytes.spare_capacity_mut();
    let len = len.min(spare.len());
    let done = read(&mut spare[..len])?.min(len);
    // SAFETY: `read` wrote `done` bytes there.
    unsafe { bytes.set_len(before + done) };
    Ok(())
}

/// The parts, one after the other.
pub fn try_concat(parts: &[&[u8]]) -> Result<Box<[u8]>, NoMemory> {
    let mut all = Vec::new();
    all.try_reserve_exact(parts.iter().map(|p| p.len()).sum()).map_err(|_| NoMemory)?;
    for part in parts {
        all.extend_from_slice(part);
    }
    Ok(all.into_boxed_slice())
}

/// The text, or `None` for want of memory. Cut at 1 KiB.
pub fn try_text(text: fmt::Arguments) -> Option<Box<str>> {
    let mut short = Text::<1024>::new();
    let _ = short.write_fmt(text); // what does not fit is cut
    let bytes = try_concat(&[short.as_bytes()]).ok()?;
    String::from_utf8(bytes.into_vec()).ok().map(String::into_boxed_str)
}

/// A text in a fixed buffer, always with room for a NUL behind it; what does not fit is cut at
/// the border of a character.
pub struct Text<const N: usize> {
    len: usize,
    /// `len` bytes and a NUL have a value; setting all of them would cost more than most uses.
    bytes: [MaybeUninit<u8>; N],
}

impl<const N: usize> Text<N> {
    #[inline(always)]
    pub const fn new() -> Self {
        let mut bytes = [MaybeUninit::uninit(); N];
        bytes[0] = MaybeUninit::new(0);
        Text { len: 0, bytes }
    }

    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: `push` wrote that many.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.len) }
    }

    /// Up to the first NUL, if a NUL was pushed.
    pub fn as_c_str(&self) -> &CStr {
        // SAFETY: `push` wrote a NUL behind the bytes.
        unsafe { CStr::from_ptr(self.bytes.as_ptr().cast()) }
    }

    /// Bytes that need not be text, such as a file's name; false if they did not fit.
    pub fn push(&mut self, more: &[u8]) -> bool {
        let fits = more.len() < N - self.len;
        if fits {
            let space = &mut self.bytes[self.len..=self.len + more.len()];
            for (to, &byte) in space.iter_mut().zip(more.iter().chain(&[0])) {
                to.write(byte);
            }
            self.len += more.len();
        }
        fits
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.push(text.as_bytes()) {
            return Ok(());
        }
        let mut room = N - 1 - self.len;
        while !text.is_char_boundary(room) {
            room -= 1;
        }
        self.push(&text.as_bytes()[..room]);
        Err(fmt::Error)
    }
}

struct Counted<T> {
    count: AtomicUsize,
    value: T,
}

/// `Arc` without weak references, whose making can fail.
pub struct Shared<T> {
    counted: NonNull<Counted<T>>,
}

// SAFETY: as for `Arc`: the value is reached from many threads and dropped on any of them.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub fn try_new(value: T) -> Result<Self, NoMemory> {
        let counted = try_box(Counted { count: AtomicUsize::new(1), value })?;
        Ok(Shared { counted: NonNull::from(Box::leak(counted)) })
    }

    pub fn same(a: &Self, b: &Self) -> bool {
        a.counted == b.counted
    }

    fn counted(&self) -> &Counted<T> {
        // SAFETY: the value lives as long as any reference to it.
        unsafe { self.counted.as_ref() }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        self.counted().count.fetch_add(1, Ordering::Relaxed);
        Shared { counted: self.counted }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.counted().value
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if self.counted().count.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            // SAFETY: this was the last reference, and the box was leaked by `try_new`.
            unsafe { drop(Box::from_raw(self.counted.as_ptr())) }
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Bytes on the heap, aligned as a view promises.
pub struct Block {
    data: NonNull<u8>,
    capacity: usize,
    len: usize,
}

// SAFETY: it owns its bytes, as a `Vec` does.
unsafe impl Send for Block {}
// SAFETY: shared references only read.
unsafe impl Sync for Block {}

impl Block {
    /// The alignment of the data of every view, in bytes.
    pub const ALIGN: usize = 64;

    pub const fn new() -> Block {
        Block { data: NonNull::dangling(), capacity: 0, len: 0 }
    }

    fn layout(capacity: usize) -> Result<Layout, NoMemory> {
        Layout::from_size_align(capacity, Self::ALIGN).map_err(|_| NoMemory)
    }

    /// Makes room for `more` bytes behind the end, moving what is there.
    pub fn reserve(&mut self, more: usize, exact: bool) -> Result<(), NoMemory> {
        let wanted = self.len.checked_add(more).ok_or(NoMemory)?;
        if wanted <= self.capacity {
            return Ok(());
        }
        let capacity = if exact { wanted } else { wanted.max(self.capacity.saturating_mul(2)) };
        let mut bigger = Block::new();
        // SAFETY: the capacity is not 0, since it exceeds the old one.
        let data = unsafe { alloc(Self::layout(capacity)?) };
        bigger.data = NonNull::new(data).ok_or(NoMemory)?;
        bigger.capacity = capacity;
        // SAFETY: both are at least `len` bytes long and do not overlap.
        unsafe { bigger.data.as_ptr().copy_from_nonoverlapping(self.data.as_ptr(), self.len) };
        bigger.len = self.len;
        *self = bigger;
        Ok(())
    }

    pub fn append(&mut self, bytes: &[u8]) -> Result<(), NoMemory> {
        self.reserve(bytes.len(), self.len == 0)?;
        // SAFETY: `reserve` made room behind `len`, and `bytes` is another allocation.
        unsafe { self.data.as_ptr().add(self.len).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        self.len += bytes.len();
        Ok(())
    }
}

impl Default for Block {
    fn default() -> Block {
        Block::new()
    }
}

impl Deref for Block {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes from `data` were written.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.capacity != 0
            && let Ok(layout) = Self::layout(self.capacity)
        {
            // SAFETY: allocated by `reserve` with this layout.
            unsafe { dealloc(self.data.as_ptr(), layout) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_the_border_of_a_character_and_ends_with_nul() {
        let mut text = Text::<6>::new();
        assert!(write!(text, "ab\u{e9}\u{e9}").is_err());
        assert_eq!(text.as_c_str().to_bytes(), "ab\u{e9}".as_bytes());
        assert!(!text.push(b"cd"));
        assert!(text.push(b"c"));
        assert_eq!(text.as_c_str().to_bytes(), "ab\u{e9}c".as_bytes());
    }

    #[test]
    fn a_block_keeps_its_bytes_and_alignment_while_it_grows() {
        let mut block = Block::new();
        let mut want = Vec::new();
        for round in 0..200usize {
            let part = vec![round as u8; round];
            block.append(&part).unwrap();
            want.extend(part);
        }
        assert_eq!(&block[..], want);
        assert_eq!(block.as_ptr() as usize % Block::ALIGN, 0);
        assert!(block.reserve(usize::MAX, true).is_err());
        assert_eq!(&block[..], want);
    }

    #[test]
    fn a_shared_value_is_dropped_once_with_its_last_reference() {
        struct Bomb<'a>(&'a AtomicUsize);
        impl Drop for Bomb<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let drops = AtomicUsize::new(0);
        let first = Shared::try_new(Bomb(&drops)).unwrap();
        let second = first.clone();
        drop(first);
        assert_eq!(drops.load(Ordering::SeqCst), 0);
        drop(second);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    }
}
