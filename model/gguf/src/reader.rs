//! Reading a file: its structure at once, its tensors as they are asked for.

use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom};

use crate::value::kind;
use crate::{ALIGNMENT, GgufError, MAGIC, Metadata, TensorInfo, TensorType, VERSION, Value, aligned};

/// The most sizes that a tensor has in the format.
const MOST_SIZES: u32 = 4;

/// A file that is whole: every tensor lies where the table says, aligned, one behind the other up to the file's end.
#[derive(Debug)]
pub struct Reader<R> {
    file: R,
    metadata: Metadata,
    tensors: Vec<(TensorInfo, u64)>,
    /// Where the tensors' data begin.
    data: u64,
}

impl<R: Read + Seek> Reader<R> {
    /// Reads the structure. Give a buffered file.
    ///
    /// # Errors
    /// The file is no GGUF of version 3, holds kinds of values or tensors that are not read here, or is not whole.
    pub fn new(mut file: R) -> Result<Self, GgufError> {
        let length = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let mut front = Front { file, left: length };
        if front.array()? != MAGIC {
            return Err(GgufError::Damaged("it does not begin with GGUF".into()));
        }
        let version = front.u32()?;
        if version != VERSION {
            return Err(GgufError::Unsupported(format!("its version is {version}, expected {VERSION}")));
        }
        let (tensors, values) = (front.u64()?, front.u64()?);
        let mut metadata = Metadata::new();
        for _ in 0..values {
            let name = front.string()?;
            let value = front.value(&name)?;
            if name == "general.alignment" && value != Value::U32(ALIGNMENT as u32) {
                return Err(GgufError::Unsupported(format!("{name} is another than {ALIGNMENT}")));
            }
            metadata.push((name, value));
        }
        let mut table = Vec::new();
        for _ in 0..tensors {
            table.push(front.tensor()?);
        }
        let data = aligned(length - front.left);
        check_places(&table, data, length)?;
        Ok(Self { file: front.file, metadata, tensors: table, data })
    }

    /// The metadata, in the file's order.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The value of a name; none where the file has no such name.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.metadata.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// The tensors, in the file's order.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.iter().map(|(tensor, _)| tensor)
    }

    /// A tensor's values, row by row, as float32.
    ///
    /// # Errors
    /// There is no such tensor, or the file cannot be read.
    pub fn values(&mut self, name: &str) -> Result<Vec<f32>, GgufError> {
        let found = self.tensors.iter().find(|(tensor, _)| tensor.name == name);
        let (tensor, offset) = found.ok_or_else(|| GgufError::NoTensor(name.to_string()))?;
        let mut bytes = vec![0; tensor.bytes() as usize];
        self.file.seek(SeekFrom::Start(self.data + offset))?;
        self.file.read_exact(&mut bytes)?;
        Ok(tensor.kind.decode(&bytes))
    }
}

/// Refuses tensors that do not fill the file from `data` to its end in their order, each once.
fn check_places(table: &[(TensorInfo, u64)], data: u64, length: u64) -> Result<(), GgufError> {
    let (mut next, mut names) = (0u64, HashSet::new());
    for (tensor, offset) in table {
        let name = shown(&tensor.name);
        if !names.insert(&tensor.name) {
            return Err(GgufError::Damaged(format!("there are two tensors {name}")));
        }
        if *offset != next {
            return Err(GgufError::Damaged(format!("{name} lies at {offset}, expected {next}")));
        }
        // Before sizes are added up that no file has.
        if tensor.bytes() > length {
            return Err(GgufError::Damaged(format!("{name} is larger than the file")));
        }
        next = next.saturating_add(aligned(tensor.bytes()));
    }
    let expected = data.saturating_add(next);
    if expected != length {
        return Err(GgufError::Damaged(format!("it has {length} bytes, expected {expected}")));
    }
    Ok(())
}

/// A name of the file in a message: short, and without what a terminal would obey.
fn shown(name: &str) -> String {
    const LONGEST: usize = 64;
    let written_out = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    name.chars().take(LONGEST).map(written_out).collect()
}

/// What comes before the data. Lengths are held against what is left of the file before anything is reserved for them.
struct Front<R> {
    file: R,
    left: u64,
}

impl<R: Read> Front<R> {
    fn take(&mut self, length: u64) -> Result<(), GgufError> {
        let left = self.left.checked_sub(length);
        self.left = left.ok_or_else(|| GgufError::Damaged("it ends before its table does".into()))?;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        self.take(N as u64)?;
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn string(&mut self) -> Result<String, GgufError> {
        let length = self.u64()?;
        self.take(length)?;
        let mut bytes = vec![0; length as usize];
        self.file.read_exact(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| GgufError::Damaged("a text is not UTF-8".into()))
    }

    fn value(&mut self, name: &str) -> Result<Value, GgufError> {
        let shown = shown(name);
        let unknown = |kind: u32| GgufError::Unsupported(format!("{shown} is of kind {kind}"));
        Ok(match self.u32()? {
            kind::U32 => Value::U32(self.u32()?),
            kind::F32 => Value::F32(f32::from_le_bytes(self.array()?)),
            kind::BOOL => match self.array()? {
                [byte @ (0 | 1)] => Value::Bool(byte == 1),
                [byte] => return Err(GgufError::Damaged(format!("{shown} is the switch {byte}"))),
            },
            kind::STRING => Value::String(self.string()?),
            kind::ARRAY => {
                match (self.u32()?, self.u64()?) {
                    (kind::STRING, length) => {
                        Value::Strings((0..length).map(|_| self.string()).collect::<Result<_, _>>()?)
                    }
                    (kind::I32, length) => Value::I32s(
                        (0..length)
                            .map(|_| Ok(i32::from_le_bytes(self.array()?)))
                            .collect::<Result<_, GgufError>>()?,
                    ),
                    (element, _) => return Err(unknown(element)),
                }
            }
            kind => return Err(unknown(kind)),
        })
    }

    /// A tensor and the offset of its data.
    fn tensor(&mut self) -> Result<(TensorInfo, u64), GgufError> {
        let name = self.string()?;
        let told = shown(&name);
        let sizes = self.u32()?;
        if !(1..=MOST_SIZES).contains(&sizes) {
            return Err(GgufError::Damaged(format!("{told} has {sizes} sizes, expected 1 to {MOST_SIZES}")));
        }
        let mut shape = Vec::new();
        for _ in 0..sizes {
            let size = self.u64()?;
            shape.push(usize::try_from(size).map_err(|_| {
                GgufError::Damaged(format!("{told} has a size of {size}, more than memory has addresses"))
            })?);
        }
        shape.reverse();
        let number = self.u32()?;
        let kind = TensorType::ALL.into_iter().find(|kind| kind.number() == number);
        let kind = kind.ok_or_else(|| GgufError::Unsupported(format!("{told} is of type {number}")))?;
        let offset = self.u64()?;
        let tensor = TensorInfo { name, shape, kind };
        // Four bytes a value at most, so the product of bytes stays in range as well.
        let fits = tensor.values().is_some_and(|values| (1..=u64::MAX / 8).contains(&values));
        let columns = tensor.shape.last().copied().unwrap_or_default();
        if !fits || !columns.is_multiple_of(kind.block()) {
            let shape = tensor.shape;
            return Err(GgufError::Damaged(format!("{told} has the shape {shape:?} in {kind}")));
        }
        Ok((tensor, offset))
    }
}
