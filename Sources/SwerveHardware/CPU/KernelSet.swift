internal import CSwerveKernels

/// One family of CPU kernels. Within a set every result is the same bits for any number of rows, any place of a row and
/// any number of threads; two sets differ by rounding, but for `avx2`, which has the bits of `scalar`.
package enum KernelSet: String, Sendable, Hashable, CaseIterable {
  /// Plain C, on every architecture: the reference.
  case scalar
  /// 256-bit vectors, f32 arithmetic for every type: the bits of `scalar`.
  case avx2
  /// 512-bit vectors, f32 arithmetic for every type.
  case avx512
  /// `avx512`, and bfloat16 products by `VDPBF16PS`.
  case avx512bf16
  /// `avx512`, and bfloat16 products by matrix tiles (`TDPBF16PS`).
  case amx
  /// The code of `amx` over tiles in plain C: for tests on machines without tiles; slow.
  case amxEmulated

  /// Sets this build and this CPU can run, slowest first, the emulation excluded from `best`.
  package static var available: [KernelSet] { allCases.filter { $0.table != nil } }

  /// The fastest available set.
  package static var best: KernelSet { available.last { $0 != .amxEmulated } ?? .scalar }

  /// The set's inner loops; nil where this build or CPU has not got them.
  var table: OpaquePointer? {
    let index =
      switch self {
      case .scalar: SWERVE_SCALAR
      case .avx2: SWERVE_AVX2
      case .avx512: SWERVE_AVX512
      case .avx512bf16: SWERVE_AVX512BF16
      case .amx: SWERVE_AMX
      case .amxEmulated: SWERVE_AMX_EMULATED
      }
    return swerve_kernels_for(Int32(index))
  }
}
