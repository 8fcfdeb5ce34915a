import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import SwerveTransfer

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Carries bytes between a TLS connection and a plain stream of this process, on an event loop. Ends when either does.
struct Tunnel {
  private let tls: any Channel
  let peerCertificate: LinkCertificate?

  /// Shakes hands; blocks no longer than so many seconds. `plain` is kept until the tunnel ends.
  static func open(
    tls: StreamSocket, plain: StreamSocket, context: NIOSSLContext, side: SocketSide, handshake: Handshake,
    seconds: Double
  ) throws -> Tunnel {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let done = loop.makePromise(of: Void.self)
    let timeout = loop.scheduleTask(in: .milliseconds(Int64(seconds * 1000))) {
      done.fail(ChannelError.connectTimeout(.milliseconds(Int64(seconds * 1000))))
    }
    defer { timeout.cancel() }
    let outer: any Channel
    do {
      outer = try ClientBootstrap(group: loop)
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            let security: NIOSSLHandler =
              switch side {
              case .connecting: try NIOSSLClientHandler(context: context, serverHostname: nil)
              case .listening: NIOSSLServerHandler(context: context)
              }
            try channel.pipeline.syncOperations.addHandlers([security, HandshakeWatch(done, handshake), Carrier()])
          }
        }
        .withConnectedSocket(try duplicate(tls)).wait()
    } catch {
      done.fail(error)
      throw error
    }
    do {
      try done.futureResult.wait()
      let certificate = try outer.nioSSL_peerCertificate().wait()
      let inner = try ClientBootstrap(group: loop)
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Carrier()) }
        }
        .channelOption(.autoRead, value: false)
        .withConnectedSocket(try duplicate(plain)).wait()
      try loop.submit {
        try outer.pipeline.syncOperations.handler(type: Carrier.self).join(inner)
        try inner.pipeline.syncOperations.handler(type: Carrier.self).join(outer)
      }.wait()
      inner.setOption(.autoRead, value: true).whenSuccess { inner.read() }
      let parsed = try certificate.map { try LinkCertificate(der: $0.toDERBytes()) }
      return Tunnel(tls: outer, peerCertificate: parsed)
    } catch {
      handshake.note(error)
      outer.close(promise: nil)
      throw error
    }
  }

  func close() { tls.close(promise: nil) }

  /// An event loop closes what it is given; the other one stays with its owner.
  private static func duplicate(_ socket: StreamSocket) throws -> CInt {
    let copy = fcntl(socket.number, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0 else { throw IOError(errnoCode: errno, reason: "dup") }
    return copy
  }

  /// Tells when both sides know each other, and remembers what went wrong.
  private final class HandshakeWatch: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let done: EventLoopPromise<Void>
    private let handshake: Handshake

    init(_ done: EventLoopPromise<Void>, _ handshake: Handshake) { (self.done, self.handshake) = (done, handshake) }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      if case TLSUserEvent.handshakeCompleted = event { done.succeed() }
      context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      handshake.note(error)
      done.fail(error)
      context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
      done.fail(handshake.error ?? ChannelError.eof)
      context.fireChannelInactive()
    }
  }

  /// Passes on what it reads to the other side. What comes before there is one waits.
  private final class Carrier: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private var other: (any Channel)?
    private var waiting: [ByteBuffer] = []
    private var hasEnded = false

    func join(_ other: any Channel) {
      self.other = other
      for buffer in waiting { other.writeAndFlush(buffer, promise: nil) }
      waiting.removeAll()
      if hasEnded { other.close(promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let buffer = unwrapInboundIn(data)
      if let other { other.writeAndFlush(buffer, promise: nil) } else { waiting.append(buffer) }
    }

    func channelInactive(context: ChannelHandlerContext) {
      hasEnded = true
      other?.close(promise: nil)
      other = nil
      context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}
