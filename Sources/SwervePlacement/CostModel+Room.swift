import SwerveCore

extension CostModel {
  /// Bytes of weights on the device that has most of them, and blocks that fit.
  ///
  /// Beside weights (nU − W) / b; on data workers kU / b. A machine with one device has its memory once.
  package func room(_ placement: Placement) -> (parameterBytes: Double, blocks: Int) {
    let bytes = model.totalBytes
    let block = model.blockBytes(tokens: load.blockTokens)
    func blocks(_ free: Double) -> Int { max(0, Int(min(free / block, 1e15))) }
    func memory(_ indices: Range<Int>) -> [Double] { indices.map { machine.devices[$0].memoryBytes } }
    let one = machine.devices[0].memoryBytes
    let isOne = machine.devices.count == 1
    switch placement {
    case .unified: return (bytes, blocks(one - bytes))
    case .gathered(let source, let depth):
      let ring = Double(depth + 1) * model.layerBytes
      // Where host memory is the device's own, it holds the weights as well.
      return (ring, blocks(one - ring - (isOne && source == .host ? bytes : 0)))
    case .tensor(let count), .pipeline(let count):
      let share = bytes / Double(count)
      if isOne { return (share, blocks(one - bytes)) }
      // Every block lies over all devices: the smallest room counts.
      let smallest = memory(0..<count).map { $0 - share }.min() ?? 0
      return (share, blocks(smallest * Double(count)))
    case .separated(let count):
      if isOne { return (bytes, blocks(one - bytes)) }
      if bytes > one { return (bytes, 0) }
      return (bytes, blocks(memory(1..<count + 1).reduce(0, +)))
    case .disaggregated(let prefill, let decode):
      if isOne { return (bytes, blocks(one - 2 * bytes)) }
      let decoding = memory(prefill..<prefill + decode).map { max(0, $0 - bytes) }
      return (bytes, blocks(decoding.reduce(0, +)))
    }
  }

  /// Why a placement is impossible, whatever it would cost.
  func refusal(_ placement: Placement) -> String? {
    let devices = machine.devices.count
    if devices > 1, placement.deviceCount > devices {
      return "it needs \(placement.deviceCount) devices and there are \(devices)"
    }
    switch placement {
    case .tensor(let count):
      guard model.queryHeads % count == 0 else {
        return "\(model.queryHeads) heads cannot be split over \(count) ranks; use a divisor of them"
      }
    case .pipeline(let count):
      guard count <= model.layers else { return "\(model.layers) layers are fewer than \(count) stages" }
    case .gathered(let source, _):
      guard rate(of: source) > 0 else { return "the speed of \(source.rawValue) is not known" }
    default: break
    }
    return nil
  }

  /// By how much more than one device's the blocks of n devices are, beside weights that fill the share x of one:
  /// (n − x) / (1 − x).
  package static func capacityRatio(devices: Double, weightShare: Double) -> Double {
    (devices - weightShare) / (1 - weightShare)
  }
}
