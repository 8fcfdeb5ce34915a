import SwerveCore
import SwerveHardware

/// Every format that stores fewer bits than a float.
let quantizedFormats: [WeightFormat] =
  [.int8, .int8Dynamic]
  + [32, 64, 128].flatMap { [WeightFormat.int4(group: $0), .nf4(group: $0), .int4Dynamic(group: $0)] }

/// Sets × types × quantised formats, as arguments of a test.
let quantizedCases: [(set: KernelSet, type: ElementType, format: WeightFormat)] = setsAndTypes.flatMap { set, type in
  quantizedFormats.map { (set, type, $0) }
}

/// A matrix as levels and scales, rounded here by the formats' rules and without the code under test.
struct Levels {
  var rows: Int
  var columns: Int
  /// What a level stands for, [rows, columns].
  var numbers: [Float]
  /// [rows, groups]
  var scales: [Float]
  var group: Int

  static let normalFloat: [Float] = [
    -1, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.091050036, 0, 0.0795803, 0.1609302,
    0.24611230, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1,
  ]

  /// - Parameter type: of the activations; the levels of nf4 are rounded to it.
  init(_ w: Rows, _ format: WeightFormat, type: ElementType) {
    rows = w.tensor.rows
    columns = w.tensor.columns
    group = format.group ?? columns
    numbers = []
    scales = []
    for row in 0..<rows {
      let values = w.row(row)
      for first in stride(from: 0, to: columns, by: group) {
        let part = values[first..<first + group]
        let largest = part.reduce(0) { max($0, abs($1)) }
        if case .nf4 = format {
          let scale = rounded(largest, to: .float16)
          scales.append(scale)
          for value in part {
            let nearest = Self.normalFloat.min { abs(value / scale - $0) < abs(value / scale - $1) }
            numbers.append(largest == 0 ? 0 : rounded(nearest ?? 0, to: type))
          }
        } else {
          scales.append(largest / 127)
          for value in part { numbers.append((value * (127 / largest)).rounded(.toNearestOrEven)) }
        }
      }
    }
  }

  subscript(_ row: Int, _ column: Int) -> Double {
    Double(numbers[row * columns + column]) * Double(scales[row * (columns / group) + column / group])
  }
}

/// A packed matrix's numbers as the embedding lookup sees them, [outputs, inputs].
func unpacked(_ weight: PackedWeight, _ device: CPUDevice) -> Rows {
  let out = Rows(.float32, weight.outputs, weight.inputs)
  let tokens = (0..<weight.outputs).map { TokenID($0) }
  device.embed(tokens.span, table: weight, into: out.tensor)
  return out
}
