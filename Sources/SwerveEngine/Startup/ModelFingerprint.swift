import SwerveCore
import SwerveHardware
import SwerveInference
import SwerveTiers

/// What must be equal for keys and values of one process to be right in another: weights, configuration, types, kernels.
enum ModelFingerprint {
  /// Raised when the engine's arithmetic changes, so that blocks of earlier versions are other models'.
  static let arithmetic = "1"

  /// Reads all of small files, and of weight files the first 64 KiB and 4 KiB of each 256 KiB: no two checkpoints differ
  /// only between. About 20 ms a GB.
  static func digest(
    files: ModelFiles, runner: RunnerConfiguration, overrides: JSONObject, kernels: KernelSet
  ) throws(FileError) -> Digest {
    var digest = Digest(
      of: Array(
        [
          "swerve model", arithmetic, runner.type.rawValue, runner.kvType.rawValue, runner.quantization?.name ?? "",
          JSON.object(overrides).text, kernels.rawValue, weights(runner),
        ].joined(separator: "\0").utf8))
    for name in files.names where isRelevant(name, runner) {
      guard let file = try files.file(name) else { continue }
      digest = chained(digest, Array("\(name)\0\(file.count)".utf8))
      file.withBytes { bytes in
        let isWeights = !name.hasSuffix(".json")
        for start in stride(from: 0, to: bytes.count, by: 1 << 18) {
          let most = isWeights && start > 0 ? 4096 : isWeights ? 1 << 16 : 1 << 18
          digest = chained(digest, Array(bytes[start..<min(start + most, bytes.count)]))
        }
      }
    }
    return digest
  }

  private static func weights(_ runner: RunnerConfiguration) -> String {
    switch runner.weights {
    case .checkpoint: "checkpoint"
    case .packed: "packed"
    case .random(let seed): "random \(seed)"
    }
  }

  private static func isRelevant(_ name: String, _ runner: RunnerConfiguration) -> Bool {
    if name == ModelConfiguration.fileName { return true }
    switch runner.weights {
    case .checkpoint: return name.hasSuffix(".safetensors") || name == Checkpoint.indexName
    case .packed: return name == PackedIndex.fileName
    case .random: return false
    }
  }

  private static func chained(_ digest: Digest, _ bytes: [UInt8]) -> Digest {
    var all = [UInt8](repeating: 0, count: Digest.byteCount)
    all.withUnsafeMutableBytes { digest.write(to: $0, at: 0) }
    return Digest(of: all + bytes)
  }
}
