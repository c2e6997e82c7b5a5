//! The few functions of PyTorch and Python that a file of tensors calls, by what they make. Whatever else is called
//! makes a value that is nothing but its name.

use gptneo_files::excerpt;

use crate::PickleError;
use crate::value::{Arena, Node, Storage, Value, size};
use crate::view::{Number, TensorView};

/// A subclass may be rebuilt from one that is rebuilt; more than this is no tensor of anyone's.
const DEEPEST: usize = 4;

/// What calling `class` with `arguments` makes.
///
/// # Errors
///
/// A tensor that reaches beyond its storage.
pub(crate) fn call(arena: &mut Arena, mut class: Value, mut arguments: Value) -> Result<Value, PickleError> {
    for _ in 0..DEEPEST {
        let name = arena.global(class).unwrap_or("an unnamed object").to_string();
        let given = arena.tuple(arguments).unwrap_or_default().to_vec();
        let node = match (name.as_str(), given.as_slice()) {
            ("collections.OrderedDict" | "__builtin__.dict" | "builtins.dict", []) => Node::Dict(Vec::new()),
            (
                "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state",
                [data, ..],
            ) => {
                return Ok(*data);
            }
            // A tensor's subclass, or a tensor with attributes: the function that makes it, and its arguments.
            ("torch._tensor._rebuild_from_type_v2", [function, _, given, ..]) => {
                (class, arguments) = (*function, *given);
                continue;
            }
            ("torch._utils._rebuild_tensor", [storage, offset, shape, strides])
            | ("torch._utils._rebuild_tensor_v2", [storage, offset, shape, strides, _, _]) => {
                tensor(arena, [*storage, *offset, *shape, *strides], None, &name)?
            }
            ("torch._utils._rebuild_tensor_v2", [storage, offset, shape, strides, _, _, marks])
                if is_empty(arena, *marks) =>
            {
                tensor(arena, [*storage, *offset, *shape, *strides], None, &name)?
            }
            ("torch._utils._rebuild_tensor_v3", [storage, offset, shape, strides, _, _, number]) => {
                tensor(arena, [*storage, *offset, *shape, *strides], Some(*number), &name)?
            }
            ("torch._utils._rebuild_tensor_v3", [storage, offset, shape, strides, _, _, number, marks])
                if is_empty(arena, *marks) =>
            {
                tensor(arena, [*storage, *offset, *shape, *strides], Some(*number), &name)?
            }
            _ => Node::Opaque(excerpt(&name)),
        };
        return arena.add(node);
    }
    Err(PickleError::damaged("a tensor in its pickle is rebuilt from one that is rebuilt, and so on"))
}

/// Whether a view has no marks of work that was put off (a negation, a conjugate).
fn is_empty(arena: &Arena, marks: Value) -> bool {
    marks == Value::None || matches!(arena.node(marks), Some(Node::Dict(items)) if items.is_empty())
}

/// A view of a storage; `number` is its type where the storage has none.
fn tensor(
    arena: &Arena,
    [storage, offset, shape, strides]: [Value; 4],
    number: Option<Value>,
    name: &str,
) -> Result<Node, PickleError> {
    let Some(Node::Storage(storage)) = arena.node(storage) else {
        return Ok(Node::Opaque(format!("{} without a storage", excerpt(name))));
    };
    let (Some(offset), Some(shape), Some(strides)) = (size(offset), arena.sizes(shape), arena.sizes(strides))
    else {
        return Err(PickleError::damaged("a tensor's shape, steps or offset are no numbers"));
    };
    let number = match number {
        None => storage.number,
        Some(number) => {
            let name = arena.global(number).unwrap_or_default();
            match Number::of_dtype(name) {
                Some(number) => Some(number),
                None => return Ok(Node::Opaque(format!("a tensor of {}", excerpt(name)))),
            }
        }
    };
    let number = number.ok_or_else(|| PickleError::damaged("a tensor in its pickle has no type"))?;
    let bytes =
        storage.bytes().ok_or_else(|| PickleError::damaged("a storage has more bytes than can be"))?;
    Ok(Node::Tensor(TensorView::new(number, (shape, strides, offset), storage.key.clone(), bytes)?))
}

/// The storage that a persistent id names: `("storage", class, key, device, length)`, and in old files a sixth that says
/// whether it is a part of another.
pub(crate) fn storage(arena: &Arena, id: Value) -> Result<Storage, PickleError> {
    let unknown = || PickleError::damaged("its pickle names a storage in an unknown way");
    let items = arena.tuple(id).ok_or_else(unknown)?;
    let (word, class, key, length) = match items {
        [word, class, key, _, length] | [word, class, key, _, length, Value::None] => {
            (word, class, key, length)
        }
        [_, _, _, _, _, _] => {
            let what = "its storages are parts of others, as PyTorch wrote before 0.4; load it there and save it again";
            return Err(PickleError::Unsupported(what.into()));
        }
        _ => return Err(unknown()),
    };
    if arena.text(*word) != Some("storage") {
        return Err(unknown());
    }
    let class = arena.global(*class).ok_or_else(unknown)?;
    let name = class.strip_prefix("torch.").unwrap_or(class);
    let number = match name {
        "UntypedStorage" | "storage.UntypedStorage" => None,
        name => match Number::of_storage(name) {
            Some(number) => Some(number),
            None => {
                return Err(PickleError::Unsupported(format!("it holds a storage of {}", excerpt(class))));
            }
        },
    };
    let key = arena.text(*key).ok_or_else(unknown)?.to_string();
    Ok(Storage { key, number, length: size(*length).ok_or_else(unknown)? })
}
