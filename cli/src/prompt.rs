//! Prompts on the terminal: a line of text, a secret, one of several rows. They need a terminal; the
//! caller checks [`Terminal::can_ask`](crate::terminal::Terminal::can_ask) first.

mod choice;
mod editor;
mod keyboard;
pub(crate) mod secret;
mod wrap;

pub(crate) use self::choice::{Row, choose};
pub(crate) use self::editor::{Typed, line};
pub(crate) use self::keyboard::width;
pub(crate) use self::wrap::wrapped;
