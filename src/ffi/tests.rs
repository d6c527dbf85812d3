#![allow(unused)]
pub fn panic_if_armed() {}
