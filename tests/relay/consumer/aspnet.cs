// What EventsWebhook.cs uses of ASP.NET Core and System.Text.Json, over what mono has: HttpListener, and a reader of JSON written here. The
// signatures are those of .NET 8, except that MapPost takes this one kind of lambda and Parse an array. So mono's compiler checks the
// sample's syntax, names and types, and the sample runs.
using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Net;
using System.Text;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;

namespace Microsoft.Extensions.Primitives
{
    public struct StringValues
    {
        readonly string value;
        public StringValues(string value) { this.value = value; }
        public override string ToString() { return value ?? ""; }
    }
}

namespace Microsoft.AspNetCore.Http
{
    using Microsoft.Extensions.Primitives;

    public interface IResult { }

    public interface IHeaderDictionary { StringValues this[string key] { get; } }

    public abstract class HttpRequest
    {
        public abstract Stream Body { get; }
        public abstract IHeaderDictionary Headers { get; }
    }

    public static class Results
    {
        internal sealed class Status : IResult { public int Code; }
        public static IResult Unauthorized() { return new Status { Code = 401 }; }
        public static IResult NoContent() { return new Status { Code = 204 }; }
    }

    sealed class Request : HttpRequest, IHeaderDictionary
    {
        readonly HttpListenerRequest request;
        public Request(HttpListenerRequest request) { this.request = request; }
        public override Stream Body { get { return request.InputStream; } }
        public override IHeaderDictionary Headers { get { return this; } }
        public StringValues this[string key] { get { return new StringValues(request.Headers[key]); } }
    }
}

namespace Microsoft.AspNetCore.Builder
{
    public sealed class WebApplicationBuilder { public WebApplication Build() { return new WebApplication(); } }

    public sealed class WebApplication
    {
        string path;
        Func<HttpRequest, Task<IResult>> handler;

        public static WebApplicationBuilder CreateBuilder(string[] args) { return new WebApplicationBuilder(); }

        public void MapPost(string pattern, Func<HttpRequest, Task<IResult>> handler)
        {
            path = pattern;
            this.handler = handler;
        }

        public void Run(string url = null)
        {
            var listener = new HttpListener();
            // Where ASP.NET Core listens is said in the same way.
            listener.Prefixes.Add((url ?? Environment.GetEnvironmentVariable("ASPNETCORE_URLS")) + "/");
            listener.Start();
            while (true)
            {
                var context = listener.GetContext();
                var code = 404;
                if (context.Request.Url.AbsolutePath == path && context.Request.HttpMethod == "POST")
                {
                    try { code = ((Results.Status)handler(new Request(context.Request)).Result).Code; }
                    catch (AggregateException) { code = 500; }
                }
                context.Response.StatusCode = code;
                context.Response.Close();
            }
        }
    }
}

namespace System.Text.Json
{
    public struct JsonElement
    {
        readonly object value;
        internal JsonElement(object value) { this.value = value; }

        public JsonElement GetProperty(string name) { return new JsonElement(((Dictionary<string, object>)value)[name]); }

        public bool TryGetProperty(string name, out JsonElement found)
        {
            object there;
            var has = ((Dictionary<string, object>)value).TryGetValue(name, out there);
            found = new JsonElement(there);
            return has;
        }

        public IEnumerable<JsonElement> EnumerateArray()
        {
            foreach (var one in (List<object>)value) yield return new JsonElement(one);
        }

        public string GetString() { return (string)value; }
        public override string ToString() { return Convert.ToString(value, CultureInfo.InvariantCulture); }
    }

    public sealed class JsonDocument : IDisposable
    {
        readonly string text;
        int at;

        JsonDocument(string text) { this.text = text; }

        public static JsonDocument Parse(byte[] utf8Json)
        {
            var document = new JsonDocument(new UTF8Encoding(false, true).GetString(utf8Json));
            document.RootElement = new JsonElement(document.Value());
            if (document.Next() != '\0') throw document.Wrong();
            return document;
        }

        public JsonElement RootElement { get; private set; }
        public void Dispose() { }

        Exception Wrong() { return new FormatException("no JSON at " + at); }

        char Next()
        {
            while (at < text.Length && " \t\r\n".IndexOf(text[at]) >= 0) at++;
            return at < text.Length ? text[at] : '\0';
        }

        void Take(char wanted)
        {
            if (Next() != wanted) throw Wrong();
            at++;
        }

        object Value()
        {
            switch (Next())
            {
                case '{':
                    var fields = new Dictionary<string, object>();
                    Items('{', '}', () => { var name = String(); Take(':'); fields[name] = Value(); });
                    return fields;
                case '[':
                    var list = new List<object>();
                    Items('[', ']', () => list.Add(Value()));
                    return list;
                case '"':
                    return String();
                default:
                    var from = at;
                    while (at < text.Length && ",]} \t\r\n".IndexOf(text[at]) < 0) at++;
                    var word = text.Substring(from, at - from);
                    if (word == "true" || word == "false") return word == "true";
                    if (word == "null") return null;
                    return double.Parse(word, NumberStyles.Float, CultureInfo.InvariantCulture);
            }
        }

        void Items(char open, char close, Action item)
        {
            Take(open);
            if (Next() != close)
            {
                item();
                while (Next() == ',') { at++; item(); }
            }
            Take(close);
        }

        string String()
        {
            Take('"');
            var read = new StringBuilder();
            for (; text[at] != '"'; at++)
            {
                if (text[at] != '\\') { read.Append(text[at]); continue; }
                at++;
                var escape = "\"\\/bfnrt".IndexOf(text[at]);
                if (escape >= 0) { read.Append("\"\\/\b\f\n\r\t"[escape]); continue; }
                read.Append((char)int.Parse(text.Substring(at + 1, 4), NumberStyles.HexNumber, CultureInfo.InvariantCulture));
                at += 4;
            }
            at++;
            return read.ToString();
        }
    }
}
