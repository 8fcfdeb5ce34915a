import Foundation
import SwerveCore
import Testing

/// Who may import whom. The manifest must hold no arrow that is not in this list, and a source file must import no room
/// that its target's arrows do not reach.
@Suite struct ArrowTests {
  static let allowed: [String: Set<String>] = [
    "CSwerveKernels": [], "CSwervePlatform": [], "CSwerveStoryModel": [], "CSwerveUnicode": [],
    "SwerveCore": [],
    "SwerveHardware": ["SwerveCore", "CSwerveKernels", "CSwervePlatform"],
    "SwerveInference": ["SwerveCore", "SwerveHardware"],
    "SwerveScheduling": ["SwerveCore", "DequeModule"],
    "SwerveText": ["SwerveCore", "CSwerveUnicode"],
    "SwervePlacement": ["SwerveCore"],
    "SwerveSimulation": ["SwerveCore", "SwerveScheduling", "SwervePlacement"],
    "SwerveEngine": [
      "SwerveCore", "SwerveText", "SwerveScheduling", "SwerveInference", "SwerveHardware", "SwerveTiers",
      "SwerveTransfer", "SwervePlacement", "CSwervePlatform", "CSwerveStoryModel",
    ],
    "SwerveAccess": [
      "SwerveCore", "Hummingbird", "HummingbirdCore", "HummingbirdTLS", "NIOSSL", "HTTPTypes", "Metrics", "CoreMetrics",
      "Logging", "NIOCore",
      "NIOHTTP1", "NIOHTTPTypes", "NIOPosix", "NIOConcurrencyHelpers", "Crypto", "ServiceLifecycle",
    ],
    "SwerveTiers": ["SwerveCore", "Crypto", "CSwervePlatform"],
    "SwerveTransfer": ["SwerveCore", "CSwervePlatform", "Crypto"],
    "SwerveHub": ["SwerveCore", "AsyncHTTPClient", "NIOCore", "NIOHTTP1", "NIOPosix", "Crypto"],
    "SwerveLinks": ["SwerveTransfer", "NIOCore", "NIOPosix", "NIOTLS", "NIOSSL", "Crypto", "X509", "SwiftASN1"],
    "SwerveRouter": [
      "SwerveCore", "Hummingbird", "HTTPTypes", "AsyncHTTPClient", "Logging", "NIOCore", "NIOHTTP1", "NIOPosix",
      "ServiceLifecycle",
    ],
    "Swerve": ["SwerveCore", "SwerveEngine", "SwerveHub"],
    "SwerveCommand": [
      "SwerveCore", "SwerveAccess", "SwerveRouter", "SwerveEngine", "SwerveText", "SwerveScheduling",
      "SwerveSimulation",
      "SwerveHardware", "SwerveHub", "SwerveLinks", "SwerveTransfer", "SwervePlacement", "ArgumentParser",
      "AsyncHTTPClient", "NIOCore", "NIOPosix",
      "NIOHTTP1", "NIOSSL",
      "Yams", "Logging", "ServiceLifecycle",
      "UnixSignals",
    ],
    "swerve-main": ["SwerveCommand"], "Storyteller": ["Swerve"], "tokenizer-benchmark": ["SwerveText", "SwerveCore"],
    "TierTestSupport": ["SwerveTiers"], "data-worker-test-support": ["SwerveEngine", "SwerveTransfer"],
    "rank-test-support": ["SwerveEngine", "SwerveInference", "SwerveCore"],
    "tiers-benchmark": ["SwerveTiers", "SwerveCore"],
    "scale-benchmark": ["SwerveSimulation", "SwervePlacement", "SwerveScheduling", "SwerveCore"],
    "gather-benchmark": ["SwerveEngine", "SwerveHardware", "SwerveCore"],
    "exchange-benchmark": ["SwerveEngine", "SwerveCore"],
    "kernel-counts": [
      "SwerveCore", "SwerveText", "SwerveScheduling", "SwerveInference", "SwerveHardware", "SwerveEngine",
    ],
  ]

  static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// The manifest as SwiftPM reads it, evaluated in a scratch folder of its own: the build that runs this test holds
  /// the lock of the usual one.
  private func manifest() throws -> JSON {
    let scratch = FileManager.default.temporaryDirectory.appending(path: "swerve-arrows-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: scratch) }
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = [
      "swift", "package", "--package-path", Self.root.path(), "--scratch-path", scratch.path(), "dump-package",
    ]
    var environment = ProcessInfo.processInfo.environment
    environment["SWERVE_INNER"] = nil
    process.environment = environment
    let output = Pipe()
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    return try JSON(parsing: [UInt8](data))
  }

  @Test func theManifestHasNoArrowThatIsNotInTheList() throws {
    let targets = try #require(try manifest()["targets"]?.array)
    var seen = 0
    for target in targets where target["type"]?.string != "test" {
      let name = try #require(target["name"]?.string)
      if name == "CAllocationCounter" { continue }
      let allowed = try #require(Self.allowed[name], "target \(name) is not in the list of rooms")
      for dependency in target["dependencies"]?.array ?? [] {
        let arrow = try #require(
          (dependency["byName"] ?? dependency["product"] ?? dependency["target"])?[0]?.string)
        #expect(allowed.contains(arrow), "\(name) must not depend on \(arrow)")
        seen += 1
      }
    }
    #expect(seen > 20)
  }

  @Test func noSourceFileImportsARoomBeyondItsArrows() throws {
    let system: Set<String> = [
      "Glibc", "Musl", "Darwin", "Dispatch", "Synchronization", "Foundation", "FoundationEssentials", "Swerve",
    ]
    let withFoundation: Set<String> = ["SwerveAccess", "SwerveHub", "SwerveLinks", "SwerveCommand"]
    var seen = 0
    for (room, allowed) in Self.allowed where !room.hasPrefix("C") {
      let folder = Self.root.appending(path: "Sources/\(room == "swerve-main" ? "swerve" : room)")
      guard let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil) else { continue }
      for case let file as URL in files where file.pathExtension == "swift" {
        for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
          let words = line.split(separator: " ").drop {
            ["@_exported", "public", "package", "internal", "private"].contains($0)
          }
          guard words.first == "import", let module = words.dropFirst().first else { continue }
          let name = String(module)
          seen += 1
          #expect(
            allowed.contains(name) || system.contains(name), "\(room)/\(file.lastPathComponent) must not import \(name)"
          )
          // The cipher library's types are Foundation's; these files are the border.
          let ciphers = ["BlockCipher.swift", "PieceCipher.swift", "LinkCipher.swift", "BlockSeal.swift"]
          if name.hasPrefix("Foundation"), !ciphers.contains(file.lastPathComponent) {
            #expect(withFoundation.contains(room), "\(room)/\(file.lastPathComponent) must do without Foundation")
          }
        }
      }
    }
    #expect(seen > 50)
  }
}
