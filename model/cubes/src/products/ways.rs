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

/// The kernels for a product, the best first; the later ones are for GPUs and sizes that those before do not take. `is_large`
/// tells that it has rows and columns for whole tiles and that the rows of its left factor are together.
///
/// From the sweep of an H200 (docs/benchmarks.md): in f16, with 256 and 2,048 rows and 768 and 3,072 terms and columns, units
/// that load while others multiply are 1.2 to 1.9 times as fast as the simplest kernel on matrix units. The GPU's loads of
/// whole tiles are up to another third faster, but each launch then sends its tiles' layout, and every 64 of them the host
/// waits. Other types and GPUs were not measured and take the simplest kernel.
pub(super) fn best<R: Runtime>(
    client: &ComputeClient<R>,
    number: StorageType,
    is_large: bool,
) -> Vec<Strategy> {
    // cubek does not ask, and would fail when the kernel is compiled.
    let loads_meanwhile = client.properties().features.copy_async;
    let best = (is_large && number.size() == 2 && loads_meanwhile)
        .then(|| Strategy::SpecializedCyclicCmma(Inferred(().into())));
    let others = [
        Strategy::SimpleCyclicCmma(Default::default()),
        Strategy::SimpleUnit(Default::default()),
        Strategy::Naive,
    ];
    best.into_iter().chain(others).collect()
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
