import Glibc
import SwerveCore
import SwerveHardware

/// Seeded numbers (SplitMix64); the seed is part of the test's arguments or printed with a failure.
struct Random: RandomNumberGenerator {
  var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  mutating func floats(_ count: Int, scale: Float = 1) -> [Float] {
    (0..<count).map { _ in Float.random(in: -scale..<scale, using: &self) }
  }
}

/// The sets under test: all that this build and CPU have; `SWERVE_CPU_KERNELS` names one of them to test alone.
let testedSets: [KernelSet] = {
  guard let name = getenv("SWERVE_CPU_KERNELS") else { return KernelSet.available }
  return KernelSet.available.filter { $0.rawValue == String(cString: name) }
}()

let allTypes = ElementType.allCases

/// How far a kernel set may be from the double-precision reference, by type: `sum` times the sum of absolute terms, plus
/// `round` times the result, or `least` near zero, where it is stored in the type.
struct Tolerance {
  var sum: Double
  var round: Double
  var least = 0.0

  static func of(_ type: ElementType) -> Tolerance {
    switch type {
    case .float32: Tolerance(sum: 2e-6, round: 1.2e-7)
    case .bfloat16: Tolerance(sum: 2e-6, round: 1.0 / 256)
    case .float16: Tolerance(sum: 2e-6, round: 1.0 / 2048, least: 0x1p-25)
    }
  }
}

func device(_ set: KernelSet, threads: Int = 1) throws -> CPUDevice {
  try CPUDevice(
    configuration: .init(threadCount: threads, isPinned: false, kernels: set, spinMicroseconds: threads > 2 ? 0 : 20))
}

/// Nearest value of the type, ties to even.
func rounded(_ x: Float, to type: ElementType) -> Float {
  switch type {
  case .float32: return x
  case .bfloat16:
    guard x.isFinite else { return x }
    let bits = x.bitPattern
    return Float(bitPattern: (bits &+ 0x7fff &+ (bits >> 16 & 1)) & 0xffff_0000)
  case .float16:
    guard x.isFinite, x != 0 else { return x }
    let unit = scalbn(1, max(Int(x.exponent), -14) - 10)
    let value = (Double(x) / unit).rounded(.toNearestOrEven) * unit
    return abs(value) > 65504 ? Float(sign: x.sign, exponent: 0, significand: .infinity) : Float(value)
  }
}

/// Bits of a value that the type can hold.
func bits(_ x: Float, _ type: ElementType) -> UInt16 {
  let b = x.bitPattern
  if type == .bfloat16 { return UInt16(b >> 16) }
  let sign = UInt16(b >> 16 & 0x8000)
  if x.isNaN { return sign | 0x7e00 }
  if x.isInfinite { return sign | 0x7c00 }
  if x.magnitude < 0x1p-14 { return sign | UInt16(x.magnitude * 0x1p24) }
  return sign | UInt16(((b & 0x7fff_ffff) - 0x3800_0000) >> 13)
}

/// Device memory with a tensor over it, for tests: kept alive by the value.
final class Rows {
  let tensor: Tensor
  private let memory: UnsafeMutableRawPointer

  /// Filled with 0xff bytes: NaN in every type.
  init(_ type: ElementType, _ rows: Int, _ columns: Int, stride: Int? = nil) {
    let bytes = max(1, rows) * (stride ?? columns) * type.byteCount
    memory = UnsafeMutableRawPointer.allocate(byteCount: bytes + 64, alignment: 64)
    memset(memory, 0xff, bytes)
    tensor = Tensor(pointer: memory, type: type, rows: rows, columns: columns, rowStride: stride)
  }

  convenience init(_ values: [Float], _ type: ElementType, rows: Int, columns: Int, stride: Int? = nil) {
    self.init(type, rows, columns, stride: stride)
    for row in 0..<rows {
      for column in 0..<columns { set(row, column, values[row * columns + column]) }
    }
  }

  deinit { memory.deallocate() }

  func set(_ row: Int, _ column: Int, _ value: Float) {
    let place = row * tensor.rowStride + column
    if tensor.type == .float32 {
      memory.storeBytes(of: value, toByteOffset: place * 4, as: Float.self)
    } else {
      memory.storeBytes(
        of: bits(rounded(value, to: tensor.type), tensor.type), toByteOffset: place * 2, as: UInt16.self)
    }
  }

  subscript(_ row: Int, _ column: Int) -> Float {
    WeightSource(pointer: memory, type: tensor.type, rows: max(1, tensor.rows), columns: tensor.rowStride)
      .number(at: row * tensor.rowStride + column)
  }

  func row(_ row: Int) -> [Float] { (0..<tensor.columns).map { self[row, $0] } }

  /// Raw bits of a row, to compare exactly.
  func rowBits(_ row: Int) -> [UInt8] {
    let start = memory + row * tensor.rowBytes
    return (0..<tensor.columns * tensor.type.byteCount).map { start.load(fromByteOffset: $0, as: UInt8.self) }
  }

  var source: WeightSource {
    WeightSource(pointer: memory, type: tensor.type, rows: tensor.rows, columns: tensor.columns)
  }
}

/// Statistics of rows, kept alive by the value.
final class Statistics {
  let table: StatisticsTable

  init(rows: Int, columns: Int) {
    let pieces = StatisticsTable.pieces(columns)
    table = StatisticsTable(
      pieces: pieces, places: .allocate(capacity: rows * pieces), maxima: .allocate(capacity: rows * pieces),
      logSums: .allocate(capacity: rows * pieces))
    table.places.initialize(repeating: -1, count: rows * pieces)
    table.maxima.initialize(repeating: .nan, count: rows * pieces)
    table.logSums.initialize(repeating: .nan, count: rows * pieces)
  }

  deinit {
    table.places.deallocate()
    table.maxima.deallocate()
    table.logSums.deallocate()
  }

  func place(_ row: Int, _ piece: Int) -> Int32 { table.places[row * table.pieces + piece] }
  func maximum(_ row: Int, _ piece: Int) -> Float { table.maxima[row * table.pieces + piece] }
  func logSum(_ row: Int, _ piece: Int) -> Float { table.logSums[row * table.pieces + piece] }
}

/// The kernel sets times the element types, as arguments of a test.
let setsAndTypes: [(KernelSet, ElementType)] = testedSets.flatMap { set in allTypes.map { (set, $0) } }
