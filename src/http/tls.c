/* tls.c - TLS under a connection, by OpenSSL through libevent: 1.2 with AEAD ciphers and 1.3
 * alone. */
#include "http/server_form.h"

#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <unistd.h>

/* No other protocol is offered, so that no client expects HTTP/2. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static enum err fill(SSL_CTX *ctx, const char *cert, const char *key)
{
    if (!SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) ||
        !SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20"))
        return err_set(ERR_NOMEM, "TLS-01", "the TLS library cannot do TLS 1.2 with AEAD ciphers");
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                        SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    if (access(cert, R_OK))
        return err_set(ERR_MISSING, "TLS-02", "%s: the certificate cannot be read: %s", cert,
                       strerror(errno));
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
        return err_set(ERR_ARG, "TLS-03", "%s: is not a certificate chain in PEM", cert);
    if (access(key, R_OK))
        return err_set(ERR_MISSING, "TLS-04", "%s: the private key cannot be read: %s", key,
                       strerror(errno));
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        return err_set(ERR_ARG, "TLS-05", "%s: is not the private key (PEM) of %s", key, cert);
    return OK;
}

enum err server_tls(struct server *s, const char *cert, const char *key)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    enum err e = ctx ? fill(ctx, cert, key)
                     : err_set(ERR_NOMEM, "TLS-06", "out of memory for TLS");

    ERR_clear_error();
    if (e) {
        SSL_CTX_free(ctx);
        return e;
    }
    tls_free(s);                        /* connections hold what they use */
    s->tls = ctx;
    return OK;
}

void tls_free(struct server *s)
{
    SSL_CTX_free(s->tls);
    s->tls = NULL;
}

void tls_close(struct bufferevent *bev)
{
    SSL *ssl = bufferevent_openssl_get_ssl(bev);

    if (ssl)
        SSL_shutdown(ssl);              /* what it cannot write now is not waited for */
    ERR_clear_error();
}

struct bufferevent *tls_accept(struct server *s, evutil_socket_t fd)
{
    SSL *ssl = SSL_new(s->tls);
    struct bufferevent *bev;

    if (!ssl)
        return NULL;
    bev = bufferevent_openssl_socket_new(s->base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                         BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (!bev)
        SSL_free(ssl);
    else
        bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    return bev;
}
