// swift-tools-version: 6.2
// Targets and their arrows: read this first. The list of permitted arrows is repeated in
// Tests/SwerveCoreTests/ArrowTests.swift, which fails on one that is not in it.
//
//   SWERVE_INNER=1     only the inner rooms (no HTTP, hub or command, none of their packages): a fast inner loop
//   SWERVE_PORTABLE=1  no x86 kernels: what arm64 and older CPUs get

import PackageDescription

let isInner = Context.environment["SWERVE_INNER"] == "1"
let isPortable = Context.environment["SWERVE_PORTABLE"] == "1"

let swift: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]
let kernels: [CSetting] = isPortable ? [.define("SWERVE_PORTABLE")] : []

var packages: [Package.Dependency] = [
  .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
  .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
]

let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")

var targets: [Target] = [
  // C: kernels, the operating system's odds and ends, the embedded model's bytes.
  .target(name: "CSwerveKernels", cSettings: kernels),
  .target(name: "CSwervePlatform"),
  .target(name: "CSwerveStoryModel", exclude: ["model"]),
  .target(name: "CSwerveUnicode"),

  // Words everyone shares.
  .target(name: "SwerveCore", swiftSettings: swift),

  // Layer 4, 3, 2 and the room of strings.
  .target(
    name: "SwerveHardware", dependencies: ["SwerveCore", "CSwerveKernels", "CSwervePlatform"], swiftSettings: swift),
  .target(name: "SwerveInference", dependencies: ["SwerveCore", "SwerveHardware"], swiftSettings: swift),
  .target(
    name: "SwerveScheduling",
    dependencies: ["SwerveCore", .product(name: "DequeModule", package: "swift-collections")], swiftSettings: swift),
  .target(name: "SwerveText", dependencies: ["SwerveCore", "CSwerveUnicode"], swiftSettings: swift),

  // Where a model could live, and what that would cost.
  .target(name: "SwervePlacement", dependencies: ["SwerveCore"], swiftSettings: swift),

  // KV blocks below the device.
  .target(name: "SwerveTiers", dependencies: ["SwerveCore", "CSwervePlatform", crypto], swiftSettings: swift),

  // Links between workers, and their processes.
  .target(name: "SwerveTransfer", dependencies: ["SwerveCore", "CSwervePlatform", crypto], swiftSettings: swift),

  // Layer 2 over a modelled device.
  .target(
    name: "SwerveSimulation", dependencies: ["SwerveCore", "SwerveScheduling", "SwervePlacement"],
    swiftSettings: swift),

  // The loop that joins them.
  .target(
    name: "SwerveEngine",
    dependencies: [
      "SwerveCore", "SwerveText", "SwerveScheduling", "SwerveInference", "SwerveHardware", "SwerveTiers",
      "SwerveTransfer", "SwervePlacement", "CSwervePlatform", "CSwerveStoryModel",
    ], swiftSettings: swift),

  .executableTarget(
    name: "tokenizer-benchmark", dependencies: ["SwerveText", "SwerveCore"], path: "Benchmarks/tokenizer",
    exclude: ["compare.py"], swiftSettings: swift),

  .executableTarget(
    name: "kernel-counts",
    dependencies: [
      "SwerveCore", "SwerveText", "SwerveScheduling", "SwerveInference", "SwerveHardware", "SwerveEngine",
    ],
    path: "Benchmarks/counts", exclude: ["check.py", "thresholds.json"], swiftSettings: swift),

  .executableTarget(
    name: "tiers-benchmark", dependencies: ["SwerveTiers", "SwerveCore"], path: "Benchmarks/tiers",
    swiftSettings: swift),

  .executableTarget(
    name: "exchange-benchmark", dependencies: ["SwerveEngine", "SwerveCore"], path: "Benchmarks/exchange",
    swiftSettings: swift),

  .executableTarget(
    name: "gather-benchmark", dependencies: ["SwerveEngine", "SwerveHardware", "SwerveCore"], path: "Benchmarks/gather",
    swiftSettings: swift),

  .executableTarget(
    name: "scale-benchmark",
    dependencies: ["SwerveSimulation", "SwervePlacement", "SwerveScheduling", "SwerveCore"], path: "Benchmarks/scale",
    swiftSettings: swift),

  .target(name: "CAllocationCounter", path: "Tests/CAllocationCounter"),
  .target(name: "TierTestSupport", dependencies: ["SwerveTiers"], path: "Tests/TierTestSupport", swiftSettings: swift),
  .testTarget(
    name: "SwervePlacementTests", dependencies: ["SwervePlacement", "SwerveCore"], swiftSettings: swift),
  .testTarget(name: "SwerveCoreTests", dependencies: ["SwerveCore"], swiftSettings: swift),
  .testTarget(
    name: "SwerveHardwareTests",
    dependencies: ["SwerveHardware", "SwerveCore", "CSwervePlatform", "CAllocationCounter"], swiftSettings: swift),
  .testTarget(
    name: "SwerveInferenceTests",
    dependencies: ["SwerveInference", "SwerveHardware", "SwerveCore", "CAllocationCounter"],
    exclude: ["Fixtures"], swiftSettings: swift),
  .testTarget(
    name: "SwerveSchedulingTests", dependencies: ["SwerveScheduling", "SwerveCore", "CAllocationCounter"],
    swiftSettings: swift),
  .testTarget(
    name: "SwerveTiersTests",
    dependencies: ["SwerveTiers", "SwerveCore", "TierTestSupport", "CAllocationCounter", "tiers-benchmark"],
    swiftSettings: swift),
  .testTarget(
    name: "SwerveTransferTests",
    dependencies: ["SwerveTransfer", "SwerveCore", "CSwervePlatform", "CAllocationCounter"],
    swiftSettings: swift),
  .testTarget(
    name: "SwerveSimulationTests",
    dependencies: ["SwerveSimulation", "SwerveScheduling", "SwervePlacement", "SwerveCore"],
    swiftSettings: swift),
  .testTarget(
    name: "SwerveTextTests", dependencies: ["SwerveText", "SwerveCore"], exclude: ["Fixtures"], swiftSettings: swift),
  // A rank's process, for tests that end it.
  .executableTarget(
    name: "rank-test-support", dependencies: ["SwerveEngine", "SwerveInference", "SwerveCore"],
    path: "Tests/RankTestSupport",
    swiftSettings: swift),
  // A data worker's process, for tests that end it.
  .executableTarget(
    name: "data-worker-test-support", dependencies: ["SwerveEngine", "SwerveTransfer"],
    path: "Tests/DataWorkerTestSupport",
    swiftSettings: swift),
  .testTarget(
    name: "SwerveEngineTests",
    dependencies: [
      "SwerveEngine", "SwerveTransfer", "data-worker-test-support", "rank-test-support", "SwerveTiers",
      "SwerveScheduling", "SwerveInference", "SwerveHardware", "SwerveCore",
      "TierTestSupport",
      "CAllocationCounter", "gather-benchmark",
    ], swiftSettings: swift),
]

var products: [Product] = []

if !isInner {
  packages += [
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.30.0"),
    .package(url: "https://github.com/apple/swift-nio-extras", from: "1.34.0"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    .package(url: "https://github.com/apple/swift-certificates", from: "1.21.0"),
    .package(url: "https://github.com/apple/swift-asn1", from: "1.7.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
  ]
  let log = Target.Dependency.product(name: "Logging", package: "swift-log")
  let nio = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
  let http1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
  let posix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
  let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
  targets += [
    // Layer 1: from bytes to requests, from tokens to bytes.
    .target(
      name: "SwerveAccess",
      dependencies: [
        "SwerveCore", log, nio, crypto, lifecycle,
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "HummingbirdTLS", package: "hummingbird"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Metrics", package: "swift-metrics"),
      ], swiftSettings: swift),
    // From a model's name to a folder on this machine.
    .target(
      name: "SwerveHub",
      dependencies: [
        "SwerveCore", nio, http1, posix, crypto,
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
      ], swiftSettings: swift),
    // Certificates of workers, and what they protect.
    .target(
      name: "SwerveLinks",
      dependencies: [
        "SwerveTransfer", nio, posix, crypto,
        .product(name: "NIOTLS", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "X509", package: "swift-certificates"),
        .product(name: "SwiftASN1", package: "swift-asn1"),
      ], swiftSettings: swift),
    // A front for servers that compute prompts and servers that go on with them.
    .target(
      name: "SwerveRouter",
      dependencies: [
        "SwerveCore", log, nio, http1, posix, lifecycle,
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
      ], swiftSettings: swift),
    // The public library.
    .target(name: "Swerve", dependencies: ["SwerveCore", "SwerveEngine", "SwerveHub"], swiftSettings: swift),
    // The command: one file a subcommand.
    .target(
      name: "SwerveCommand",
      dependencies: [
        "SwerveCore", "SwerveAccess", "SwerveRouter", "SwerveEngine", "SwerveText", "SwerveScheduling",
        "SwerveSimulation", "SwerveHardware", "SwerveHub", "SwerveLinks", "SwerveTransfer", "SwervePlacement", log, nio,
        http1, posix, lifecycle,
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
        .product(name: "Yams", package: "Yams"),
      ], swiftSettings: swift),
    .executableTarget(
      name: "Storyteller", dependencies: ["Swerve"], path: "Examples/Storyteller", swiftSettings: swift),
    .executableTarget(
      name: "swerve-main", dependencies: ["SwerveCommand"], path: "Sources/swerve", swiftSettings: swift),

    .testTarget(
      name: "SwerveAccessTests",
      dependencies: [
        "SwerveAccess", "SwerveCore", .product(name: "HummingbirdTesting", package: "hummingbird"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HTTPTypes", package: "swift-http-types"), nio, log, lifecycle,
        .product(name: "NIOPosix", package: "swift-nio"),
      ], swiftSettings: swift),
    .testTarget(
      name: "SwerveHubTests",
      dependencies: [
        "SwerveHub", "SwerveCore", nio, http1, posix, crypto, log,
      ], swiftSettings: swift),
    .testTarget(
      name: "SwerveLinksTests", dependencies: ["SwerveLinks", "SwerveTransfer", "SwerveEngine", "SwerveCore"],
      swiftSettings: swift),
    .testTarget(name: "SwerveTests", dependencies: ["Swerve", "SwerveCore"], swiftSettings: swift),
    .testTarget(
      name: "SwerveCommandTests",
      dependencies: ["SwerveCommand", "SwerveAccess", "SwerveRouter", "SwerveEngine", "SwerveCore", log],
      swiftSettings: swift),
  ]
  products += [
    .library(name: "Swerve", targets: ["Swerve"]),
    .executable(name: "swerve", targets: ["swerve-main"]),
  ]
}

let package = Package(
  name: "swerve", platforms: [.macOS(.v15)], products: products, dependencies: packages, targets: targets,
  cLanguageStandard: .gnu17)
