//! The pickle machine: a stack, marks on it, and a memo of values. It knows the opcodes that Python writes in protocols
//! 2 to 5, and no way to run anything.

use std::collections::HashMap;

use gptneo_files::excerpt;

use crate::PickleError;
use crate::rebuild;
use crate::value::{Arena, Node, Storage, Value};

/// The most values on the stack, and in the memo.
const MOST: usize = 1 << 20;
/// The most lists, tuples and dictionaries that may be open at once. Weights are nested three deep.
const DEEPEST: usize = 1000;

/// What a pickle built.
pub(crate) struct Built {
    pub(crate) arena: Arena,
    pub(crate) value: Value,
    /// The storages that it named, once for each time it did.
    pub(crate) storages: Vec<Storage>,
    /// The pickle's length.
    pub(crate) length: usize,
}

struct Machine<'a> {
    bytes: &'a [u8],
    place: usize,
    arena: Arena,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u64, Value>,
    storages: Vec<Storage>,
}

/// Runs the pickle at the beginning of `bytes`.
///
/// # Errors
///
/// It is cut, does what no pickle does, or asks for too much.
pub(crate) fn run(bytes: &[u8]) -> Result<Built, PickleError> {
    let mut machine = Machine {
        bytes,
        place: 0,
        arena: Arena::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        storages: Vec::new(),
    };
    while !machine.step()? {}
    let value = machine.pop()?;
    let Machine { arena, storages, place, .. } = machine;
    Ok(Built { arena, value, storages, length: place })
}

impl Machine<'_> {
    /// One opcode; whether it was the last.
    fn step(&mut self) -> Result<bool, PickleError> {
        let opcode = self.take(1)?[0];
        match opcode {
            // PROTO, FRAME
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'.' => return Ok(true),
            b'(' => self.mark()?,
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'K' | b'M' | b'J' | 0x8a | 0x8b => self.integer(opcode)?,
            b'G' => {
                self.take(8)?;
                self.add(Node::Opaque("a number".into()))?;
            }
            b'X' | 0x8c | 0x8d | b'U' | b'T' => {
                let width = match opcode {
                    0x8c | b'U' => 1,
                    0x8d => 8,
                    _ => 4,
                };
                let text = self.counted(width)?;
                let text = String::from_utf8_lossy(text).into_owned();
                self.add(Node::Text(text))?;
            }
            b'C' | b'B' | 0x8e | 0x96 => {
                let width = match opcode {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                };
                self.counted(width)?;
                self.add(Node::Opaque("bytes".into()))?;
            }
            b')' => self.add(Node::Tuple(Vec::new()))?,
            b't' => {
                let items = self.pop_mark()?;
                self.add(Node::Tuple(items))?;
            }
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0x84..opcode {
                    items.insert(0, self.pop()?);
                }
                self.add(Node::Tuple(items))?;
            }
            b']' => self.add(Node::List(Vec::new()))?,
            b'l' => {
                let items = self.pop_mark()?;
                self.add(Node::List(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.append(items)?;
            }
            0x8f => self.add(Node::Opaque("a set".into()))?,
            0x91 => {
                self.pop_mark()?;
                self.add(Node::Opaque("a set".into()))?;
            }
            b'}' => self.add(Node::Dict(Vec::new()))?,
            b'd' => {
                let items = self.pop_mark()?;
                self.add(Node::Dict(Vec::new()))?;
                self.set(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set(&items)?;
            }
            // BINPUT, LONG_BINPUT, MEMOIZE
            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            0x94 => self.remember(0)?,
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.add(Node::Global(format!("{module}.{name}")))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Some(module), Some(name)) = (self.arena.text(module), self.arena.text(name)) else {
                    return Err(PickleError::damaged("a class in its pickle has no name"));
                };
                let global = format!("{module}.{name}");
                self.add(Node::Global(global))?;
            }
            // REDUCE, NEWOBJ, NEWOBJ_EX
            b'R' | 0x81 => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                let made = rebuild::call(&mut self.arena, class, arguments)?;
                self.push(made)?;
            }
            0x92 => {
                let (_, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                let made = rebuild::call(&mut self.arena, class, arguments)?;
                self.push(made)?;
            }
            // BUILD sets attributes, of which no tensor here has any: `_metadata` of a state's dictionary, mostly.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let id = self.pop()?;
                let storage = rebuild::storage(&self.arena, id)?;
                self.storages.push(storage.clone());
                self.add(Node::Storage(storage))?;
            }
            other => {
                let shown = excerpt(&char::from(other).to_string());
                return Err(PickleError::damaged(format!("its pickle holds the unknown opcode {shown:?}")));
            }
        }
        Ok(false)
    }

    fn take(&mut self, count: usize) -> Result<&[u8], PickleError> {
        let end = self.place.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.place..end));
        let taken = taken.ok_or_else(|| PickleError::damaged("its pickle ends early"))?;
        self.place += count;
        Ok(taken)
    }

    /// A little-endian number of at most eight bytes.
    fn number(&mut self, width: usize) -> Result<u64, PickleError> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Bytes behind their count.
    fn counted(&mut self, width: usize) -> Result<&[u8], PickleError> {
        let count = self.number(width)?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn integer(&mut self, opcode: u8) -> Result<(), PickleError> {
        let value = match opcode {
            b'K' => self.number(1)? as i64,
            b'M' => self.number(2)? as i64,
            b'J' => i64::from(self.number(4)? as u32 as i32),
            _ => {
                let bytes = self.counted(if opcode == 0x8a { 1 } else { 4 })?;
                if bytes.len() > 8 {
                    return self.add(Node::Opaque("a large number".into()));
                }
                let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
                let mut whole = if negative { [0xff; 8] } else { [0; 8] };
                whole[..bytes.len()].copy_from_slice(bytes);
                i64::from_le_bytes(whole)
            }
        };
        self.push(Value::Int(value))
    }

    fn line(&mut self) -> Result<String, PickleError> {
        let rest = self.bytes.get(self.place..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n');
        let length = length.ok_or_else(|| PickleError::damaged("its pickle ends early"))?;
        let line = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.place += length + 1;
        Ok(line)
    }

    fn push(&mut self, value: Value) -> Result<(), PickleError> {
        if self.stack.len() >= MOST {
            return Err(PickleError::Limit(format!("its pickle stacks more than {MOST} values")));
        }
        self.stack.push(value);
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<(), PickleError> {
        let value = self.arena.add(node)?;
        self.push(value)
    }

    fn mark(&mut self) -> Result<(), PickleError> {
        if self.marks.len() >= DEEPEST {
            return Err(PickleError::Limit(format!("its pickle is nested more than {DEEPEST} deep")));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// Whether there is a value above the last mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or_default()
    }

    fn pop(&mut self) -> Result<Value, PickleError> {
        let above = self.stack.len() > self.floor();
        self.stack
            .pop()
            .filter(|_| above)
            .ok_or_else(|| PickleError::damaged("its pickle takes what it did not put"))
    }

    fn top(&self) -> Result<Value, PickleError> {
        let above = self.stack.len() > self.floor();
        let top = self.stack.last().filter(|_| above);
        top.copied().ok_or_else(|| PickleError::damaged("its pickle takes what it did not put"))
    }

    /// What stands above the last mark.
    fn pop_mark(&mut self) -> Result<Vec<Value>, PickleError> {
        let mark =
            self.marks.pop().ok_or_else(|| PickleError::damaged("its pickle closes what it did not open"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        let top = self.top()?;
        match self.arena.node_mut(top) {
            Some(Node::List(list)) => list.extend(items),
            // A set, or an object of a class of lists.
            Some(Node::Opaque(_)) => {}
            _ => return Err(PickleError::damaged("its pickle adds to what is no list")),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Value]) -> Result<(), PickleError> {
        let top = self.top()?;
        match self.arena.node_mut(top) {
            Some(Node::Dict(dict)) if items.len().is_multiple_of(2) => {
                dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            Some(Node::Opaque(_)) => {}
            _ => return Err(PickleError::damaged("its pickle sets an item of what is no dictionary")),
        }
        Ok(())
    }

    /// Puts the top into the memo, under a number of `width` bytes or the next.
    fn remember(&mut self, width: usize) -> Result<(), PickleError> {
        let place = if width == 0 { self.memo.len() as u64 } else { self.number(width)? };
        let top = self.top()?;
        self.memo.insert(place, top);
        if self.memo.len() > MOST {
            return Err(PickleError::Limit(format!("its pickle remembers more than {MOST} values")));
        }
        Ok(())
    }

    fn recall(&mut self, width: usize) -> Result<(), PickleError> {
        let place = self.number(width)?;
        let value = self.memo.get(&place).copied();
        self.push(value.ok_or_else(|| PickleError::damaged("its pickle recalls what it did not remember"))?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_is_run_and_the_unknown_becomes_a_name() {
        let built = run(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.").unwrap();
        assert!(
            matches!(built.arena.node(built.value), Some(Node::Opaque(name)) if name.contains("os.system"))
        );
    }

    #[test]
    fn a_deep_pickle_costs_no_stack_and_a_greedy_one_no_memory() {
        // A list in a list in a list: 200 kB that overflow a reader which follows them.
        let mut deep = b"\x80\x02".to_vec();
        deep.extend(std::iter::repeat_n(b']', 100_000));
        deep.extend(std::iter::repeat_n(b'a', 99_999));
        deep.push(b'.');
        run(&deep).unwrap();
        let mut open = b"\x80\x02".to_vec();
        open.extend(std::iter::repeat_n(b'(', 100_000));
        assert!(run(&open).err().unwrap().to_string().contains("nested"));
        let mut tall = b"\x80\x02".to_vec();
        tall.extend(std::iter::repeat_n(b'N', MOST + 2));
        assert!(run(&tall).err().unwrap().to_string().contains("stacks"));
        // A text that says it has 4 GB.
        assert!(run(b"\x80\x02X\xff\xff\xff\xffabc.").err().unwrap().to_string().contains("ends early"));
    }

    #[test]
    fn what_no_pickle_does_is_an_error() {
        for pickle in
            [&b""[..], b".", b"\x80", b"0.", b"(N0000.", b"t.", b"Na.", b"}Ns.", b"h\x07.", b"\xff.", b"Q."]
        {
            assert!(run(pickle).is_err(), "{pickle:?}");
        }
    }

    #[test]
    fn integers_have_their_sign() {
        let number = |pickle: &[u8]| run(pickle).unwrap().value;
        assert_eq!(number(b"K\xff."), Value::Int(255));
        assert_eq!(number(b"J\xfe\xff\xff\xff."), Value::Int(-2));
        assert_eq!(number(b"\x8a\x02\x00\xff."), Value::Int(-256));
        assert_eq!(number(b"\x8a\x00."), Value::Int(0));
    }
}
