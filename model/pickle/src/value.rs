//! What a pickle builds, in one arena: values refer to each other by number, so that neither a deep nor a circular
//! structure costs any of the program's stack.

use crate::PickleError;
use crate::view::{Number, TensorView};

/// The most values that a file may build; a model of a thousand layers builds some hundred thousand.
const MOST: usize = 1 << 20;

/// A value: a small one itself, a large one by its place in the arena.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Ref(u32),
}

/// A value in the arena.
#[derive(Debug)]
pub(crate) enum Node {
    Text(String),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    /// A dictionary, ordered or not, as its items were set.
    Dict(Vec<(Value, Value)>),
    /// A class or function, `module.name`; it is never looked up.
    Global(String),
    Storage(Storage),
    Tensor(TensorView),
    /// Anything else, by what it is.
    Opaque(String),
}

/// The numbers that one or more tensors look at, as the pickle announces them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Storage {
    /// Its record in the archive.
    pub(crate) key: String,
    /// Its type; none for bytes whose type the tensor says.
    pub(crate) number: Option<Number>,
    /// Its numbers, or bytes where it has no type.
    pub(crate) length: u64,
}

impl Storage {
    /// Its size, if that is a number at all.
    pub(crate) fn bytes(&self) -> Option<u64> {
        self.length.checked_mul(self.number.map_or(1, Number::bytes) as u64)
    }
}

/// All values of one pickle.
#[derive(Debug, Default)]
pub(crate) struct Arena(Vec<Node>);

impl Arena {
    pub(crate) fn add(&mut self, node: Node) -> Result<Value, PickleError> {
        if self.0.len() >= MOST {
            return Err(PickleError::Limit(format!("its pickle builds more than {MOST} values")));
        }
        self.0.push(node);
        Ok(Value::Ref((self.0.len() - 1) as u32))
    }

    pub(crate) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Ref(place) => self.0.get(place as usize),
            _ => None,
        }
    }

    pub(crate) fn node_mut(&mut self, value: Value) -> Option<&mut Node> {
        match value {
            Value::Ref(place) => self.0.get_mut(place as usize),
            _ => None,
        }
    }

    pub(crate) fn text(&self, value: Value) -> Option<&str> {
        match self.node(value) {
            Some(Node::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn tuple(&self, value: Value) -> Option<&[Value]> {
        match self.node(value) {
            Some(Node::Tuple(items)) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn global(&self, value: Value) -> Option<&str> {
        match self.node(value) {
            Some(Node::Global(name)) => Some(name),
            _ => None,
        }
    }

    /// The numbers of a tuple of sizes.
    pub(crate) fn sizes(&self, value: Value) -> Option<Vec<u64>> {
        self.tuple(value)?.iter().map(|item| size(*item)).collect()
    }
}

/// A number that is not negative.
pub(crate) fn size(value: Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(number).ok(),
        _ => None,
    }
}
