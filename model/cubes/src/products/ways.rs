//! cubek's kernels for products: which of them serve which, and all that are worth a comparison.

use cubecl::ir::StorageType;
use cubecl::prelude::*;
use cubek_matmul::components::tile::TileMatmulKind::{Cmma, Mma};
use cubek_matmul::launch::Strategy;
use cubek_matmul::routines::BlueprintStrategy::Inferred;
use cubek_matmul::routines::TileSizeSelection;
use cubek_matmul::routines::double_unit::DoubleUnitSelectionArgs;
use cubek_matmul::routines::ordered_double_buffering::OrderedSelectionArgs;
use cubek_matmul::routines::simple::SimpleArgs;

use super::{Sizes, TILE};

/// Terms that the kernel whose units load while others multiply takes at a time. Where a last half of them is all that is
/// left, it multiplies what lies beyond the factors as well (cubek 0.2.0, its issue 434).
const TERMS: usize = 64;

/// Columns from which on a cube is better off with two rows of tiles for each column of them.
const MANY_COLUMNS: usize = 16_384;

/// The kernels for a product, the best first; the later ones are for GPUs and sizes that those before do not take. The rows
/// of its left factor are together, or its columns.
///
/// From two sweeps of an H200 (docs/benchmarks.md): in f16, with 256 and 2,048 rows, 768 to 50,304 terms, and 768 and 3,072
/// columns, units that load while others multiply are 1.2 to 2.6 times as fast as the simplest kernel on matrix units; with
/// 50,304 columns two rows of tiles are 2.4 times as fast as that, and 1.4 times as fast as those. The GPU's loads of whole
/// tiles are up to another third faster, but each launch then sends its tiles' layout, and every 64 of them the host waits.
/// bf16 goes with f16. f32 was not measured, nor were GPUs that cannot load meanwhile: they take the simplest kernel.
pub(super) fn best<R: Runtime>(
    client: &ComputeClient<R>,
    number: StorageType,
    sizes: &Sizes,
    rows_are_together: bool,
) -> Vec<Strategy> {
    // cubek does not ask, and would fail when the kernel is compiled.
    let loads_meanwhile = client.properties().features.copy_async;
    let is_measured = number.size() == 2 && loads_meanwhile && rows_are_together;
    let is_large = sizes.m.min(sizes.n) >= TILE && sizes.k.is_multiple_of(TERMS);
    let best = (is_measured && is_large).then(|| match sizes.n {
        MANY_COLUMNS.. => {
            Strategy::SimpleCyclicCmma(Inferred(SimpleArgs { multi_rows: true, tile_matmul: Cmma }))
        }
        _ => Strategy::SpecializedCyclicCmma(Inferred(().into())),
    });
    best.into_iter().chain(any()).collect()
}

/// Those that take any product, the best first.
pub(super) fn any() -> [Strategy; 3] {
    [
        Strategy::SimpleCyclicCmma(Default::default()),
        Strategy::SimpleUnit(Default::default()),
        Strategy::Naive,
    ]
}

/// Whether it is faster by far than those that take any product.
pub(super) fn is_fast(way: &Strategy) -> bool {
    matches!(way, Strategy::SpecializedCyclicCmma(_))
}

/// All that a sweep compares.
pub(super) fn all() -> Vec<Strategy> {
    let mut ways = vec![
        Strategy::DoubleCyclicCmma(Default::default()),
        Strategy::DoubleCyclicMma(Default::default()),
        Strategy::DoubleTmaCmma(Default::default()),
        Strategy::DoubleTmaMma(Default::default()),
        Strategy::DoubleAsyncCyclicMma(Default::default()),
        Strategy::SpecializedCyclicCmma(Inferred(().into())),
        Strategy::SpecializedCyclicMma(Inferred(().into())),
        Strategy::SpecializedTmaCmma(Inferred(().into())),
        Strategy::SpecializedTmaMma(Inferred(().into())),
        Strategy::SimpleUnit(Default::default()),
        Strategy::DoubleUnit(Inferred(DoubleUnitSelectionArgs { tile_size: TileSizeSelection::MaxTileSize })),
    ];
    for multi_rows in [false, true] {
        let on = |tile_matmul| SimpleArgs { multi_rows, tile_matmul };
        ways.extend([
            Strategy::SimpleCyclicCmma(Inferred(on(Cmma))),
            Strategy::SimpleCyclicMma(Inferred(on(Mma))),
            Strategy::SimpleTmaCmma(Inferred(on(Cmma))),
            Strategy::SimpleTmaMma(Inferred(on(Mma))),
        ]);
    }
    for rows in [4, 8] {
        let on = |tile_matmul| {
            let (partition_k, row_count, rows_per_plane) = (Some(2), Some(rows), Some(2));
            OrderedSelectionArgs { partition_k, row_count, rows_per_plane, tile_matmul }
        };
        ways.extend([
            Strategy::OrderedDoubleCmma(Inferred(on(Cmma))),
            Strategy::OrderedDoubleMma(Inferred(on(Mma))),
        ]);
    }
    ways
}
